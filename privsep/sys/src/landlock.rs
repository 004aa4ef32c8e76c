//! Landlock: limits the files that a process can open to some directories, whatever its user may
//! open. The numbers are those of linux/landlock.h.

use crate::confine::{NotConfined, attempt};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[cfg(feature = "server")]
pub mod reading;

/// The proof failed.
const OPEN: &str = "what Landlock forbids can still be opened";

/// A right to files, or several of them.
pub type Rights = u64;

const WRITE_FILE: Rights = 1 << 1;
/// Files may be read.
pub const READ_FILE: Rights = 1 << 2;
/// Directories may be listed and synced.
pub const READ_DIRECTORY: Rights = 1 << 3;
const REMOVE_FILE: Rights = 1 << 5;
const MAKE_REGULAR: Rights = 1 << 8;
const TRUNCATE: Rights = 1 << 14;
/// Files may be read, written, made, renamed and removed.
pub const REGULAR_FILES: Rights = WRITE_FILE | READ_FILE | REMOVE_FILE | MAKE_REGULAR | TRUNCATE;

/// What may be done beneath a directory.
pub type Rule<'a> = (BorrowedFd<'a>, Rights);

/// Restricts this process. It cannot undo that, and a second call only takes more away. The process
/// must have `no_new_privs` (see [`crate::confine::harden`]). Forbidden are:
///
/// - every file, except for the rights of `rules`,
/// - every TCP port,
/// - signals to other processes, and their abstract sockets,
/// - tracing other processes, and reading in `/proc` what only a tracer may read.
///
/// A kernel enforces what its Landlock knows: files from 5.13 on, moves between directories from
/// 5.19, truncation from 6.2, TCP from 6.7, device controls from 6.10, signals and abstract sockets
/// from 6.12. Files are required. The rest is a second wall behind the system call filter.
///
/// # Errors
///
/// The kernel cannot restrict files, or the proof failed. The process must not go on then.
pub fn restrict(rules: &[Rule<'_>]) -> Result<(), NotConfined> {
    enforce(known()?, rules)?;
    // The root directory must not open. A process with an empty root directory opens that one.
    match std::fs::read_dir("/") {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(NotConfined::Unproven(OPEN)),
    }
}

/// `struct landlock_ruleset_attr`: what is forbidden unless a rule permits it. A kernel that does
/// not know the later numbers takes them if they are 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forbidden {
    files: Rights,
    ports: u64,
    scopes: u64,
}

impl Forbidden {
    /// Everything that version `abi` of Landlock can forbid. `None`: there is no such version.
    fn everything(abi: c_long) -> Option<Self> {
        let kinds_of_file_right = match abi {
            ..=0 => return None,
            1 => 13,
            2 => 14,
            3 | 4 => 15,
            _ => 16,
        };
        Some(Self {
            files: (1 << kinds_of_file_right) - 1,
            // Binding and connecting.
            ports: if abi >= 4 { 0b11 } else { 0 },
            // Abstract sockets and signals.
            scopes: if abi >= 6 { 0b11 } else { 0 },
        })
    }
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    rights: Rights,
    directory: c_int,
}

/// Everything that this kernel can forbid.
fn known() -> Result<Forbidden, NotConfined> {
    let missing = "the kernel has no Landlock (Linux 5.13, lsm=landlock)";
    Forbidden::everything(version()).ok_or(NotConfined::Unproven(missing))
}

/// The version of Landlock that this kernel has. Negative: it has none.
pub(crate) fn version() -> c_long {
    const VERSION: c_int = 1;
    let nothing = std::ptr::null::<Forbidden>();
    // SAFETY: when the kernel is asked for its version, it reads no ruleset.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) }
}

/// Enforces a ruleset: `forbidden`, except the rights beneath each directory.
fn enforce(forbidden: Forbidden, rules: &[Rule<'_>]) -> Result<(), NotConfined> {
    const PATH_BENEATH: c_int = 1;
    let call = |answer| attempt("Landlock", Errno::result(answer));
    // SAFETY: the kernel reads as many bytes as the structure has.
    let made = call(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const forbidden,
            size_of::<Forbidden>(),
            0,
        )
    })?;
    let made = c_int::try_from(made).unwrap_or(-1);
    // SAFETY: the kernel has made this descriptor in the call before. Nothing else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(made) };
    for (directory, rights) in rules {
        let beneath = Beneath {
            // The kernel refuses a rule with a right that is not forbidden elsewhere.
            rights: rights & forbidden.files,
            directory: directory.as_raw_fd(),
        };
        // SAFETY: the kernel reads the structure that belongs to this type of rule.
        call(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                PATH_BENEATH,
                &raw const beneath,
                0,
            )
        })?;
    }
    // SAFETY: the call takes numbers only.
    let restricted =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    call(restricted).map(drop)
}

#[cfg(test)]
mod tests;
