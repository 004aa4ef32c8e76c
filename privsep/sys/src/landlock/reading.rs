//! Restricts processes that may read every file: popward-config changes none, PAM's modules change
//! only what is in a list, and an operator's program may change what its user may.

use super::{
    Forbidden, NotConfined, OPEN, READ_DIRECTORY, READ_FILE, REGULAR_FILES, Rights, TRUNCATE,
    WRITE_FILE, attempt, enforce, known,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, pipe};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

const EXECUTE: Rights = 1;
const MAKE_BLOCK_DEVICE: Rights = 1 << 11;
const MOVE: Rights = 1 << 13;
const DEVICE_CONTROLS: Rights = 1 << 15;

/// As [`super::restrict`], but every file may be read, and none may be written.
pub fn restrict_to_reading() -> Result<(), NotConfined> {
    let root = File::open("/").map_err(|_| NotConfined::Unproven(OPEN))?;
    enforce(known()?, &[(root.as_fd(), READ_FILE | READ_DIRECTORY)])?;
    // The proof: everybody may write to this file, so only Landlock can forbid it.
    prove("/dev/null")
}

/// Restricts files only, for a process that runs other programs: every file may be read and
/// executed, and none may be written, made or removed, except `files` and what is beneath
/// `directories`. Paths that are missing are left out.
///
/// Sockets and signals are as free as before, because modules for LDAP or SSSD need sockets.
pub fn restrict_writing(files: &[&str], directories: &[&str]) -> Result<(), NotConfined> {
    let read = READ_FILE | READ_DIRECTORY | EXECUTE | DEVICE_CONTROLS;
    let write_file = WRITE_FILE | TRUNCATE;
    let root = File::open("/").map_err(|_| NotConfined::Unproven(OPEN))?;
    let each = |paths: &[&str], rights: Rights| -> Vec<(File, Rights)> {
        let paths = paths.iter().filter_map(|path| open_path(Path::new(path)));
        paths.map(|file| (file, rights)).collect()
    };
    let mut rules = vec![(root, read)];
    rules.extend(each(files, write_file));
    rules.extend(each(directories, REGULAR_FILES));
    let rules: Vec<_> = rules
        .iter()
        .map(|(file, rights)| (file.as_fd(), *rights))
        .collect();
    let files = Forbidden {
        ports: 0,
        scopes: 0,
        ..known()?
    };
    enforce(files, &rules)?;
    // Everybody may write to this file, so only Landlock can forbid it.
    prove("/dev/zero")
}

/// Keeps this process, and all that it starts, away from the memory and the descriptors of other
/// processes of its user, and restricts no file. A restricted process can trace only processes that
/// have its restrictions too.
///
/// Landlock must forbid something. Making a block device takes a capability in any case. Moving
/// files between directories is forbidden unless a rule permits it. The first version of Landlock
/// has no such rule.
///
/// This process must have one thread.
pub fn restrict_tracing() -> Result<(), NotConfined> {
    let other = attempt("a process to be traced", Traceable::start())?;
    let root = open_path(Path::new("/")).ok_or(NotConfined::Unproven(OPEN))?;
    let forbidden = Forbidden {
        files: known()?.files & (MAKE_BLOCK_DEVICE | MOVE),
        ports: 0,
        scopes: 0,
    };
    let permitted = [(root.as_fd(), MOVE)];
    let has_rule = forbidden.files & MOVE != 0;
    enforce(forbidden, if has_rule { &permitted } else { &[] })?;
    other.prove_that_it_is_out_of_reach()
}

/// A child that this process may trace before it is restricted, and not afterwards.
struct Traceable(Pid);

impl Traceable {
    fn start() -> Result<Self, Errno> {
        let (reader, writer) = pipe()?;
        // SAFETY: this process has one thread, and the child makes only system calls.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Child => {
                // SAFETY: this is the child.
                unsafe { wait_to_be_traced(writer.as_raw_fd()) }
            }
            ForkResult::Parent { child } => {
                drop(writer);
                let traceable = Self(child);
                let told = File::from(reader).read_exact(&mut [0]);
                told.map_err(|_| Errno::ECHILD)?;
                Ok(traceable)
            }
        }
    }

    fn prove_that_it_is_out_of_reach(&self) -> Result<(), NotConfined> {
        match File::open(format!("/proc/{}/mem", self.0)) {
            // NotFound: /proc shows only what this process may trace (hidepid).
            Err(error)
                if [ErrorKind::PermissionDenied, ErrorKind::NotFound].contains(&error.kind()) =>
            {
                Ok(())
            }
            _ => Err(NotConfined::Unproven("another process can be traced")),
        }
    }
}

impl Drop for Traceable {
    fn drop(&mut self) {
        // It is a child of this process and not reaped.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Keeps nothing, lets itself be traced, says so to `told`, and waits for its end.
///
/// # Safety
///
/// To be called in a child that has no other thread.
unsafe fn wait_to_be_traced(told: RawFd) -> ! {
    // SAFETY: these system calls take numbers only, but for one byte of static memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::dup2(told, 0);
        libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        libc::write(0, c"x".as_ptr().cast(), 1);
        libc::close(0);
        loop {
            libc::pause();
        }
    }
}

/// Opens a path without any right to its contents.
fn open_path(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    let options = options.read(true).custom_flags(nix::libc::O_PATH);
    options.open(path).ok()
}

/// Proves that `path` cannot be opened for writing.
fn prove(path: &str) -> Result<(), NotConfined> {
    match File::options().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        _ => Err(NotConfined::Unproven(OPEN)),
    }
}
