//! Popward's other executables: where they are, and how one is started.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::process::{Launch, Launcher, Started};
use popward_sys::spawn::{Child, ChildIdentity};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The executable `name` in the directory of this one.
///
/// # Errors
///
/// The system does not say which executable this one is.
pub(crate) fn beside(name: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// The identity of a child that is root without groups. `None`: this process is not root, and its
/// children keep its identity.
pub(crate) fn as_root() -> Option<ChildIdentity> {
    nix::unistd::geteuid()
        .is_root()
        .then(|| as_user(0, 0, Vec::new()))
}

/// The identity of a child that runs as a user.
pub(crate) fn as_user(uid: u32, gid: u32, groups: Vec<u32>) -> ChildIdentity {
    ChildIdentity {
        uid,
        gid,
        effective_gid: gid,
        groups,
        keep_chroot: false,
    }
}

/// Starts an executable with a channel and a log.
///
/// # Errors
///
/// A system call failed.
pub(crate) fn start(
    executable: &Path,
    words: &[&str],
    identity: Option<&ChildIdentity>,
) -> Result<Started, Errno> {
    let directory = here()?;
    Launcher::new()?.start(
        &Launch {
            executable,
            command_line: words,
            directory: directory.as_fd(),
            identity,
        },
        &[],
    )
}

/// Starts an executable with one socket.
///
/// # Errors
///
/// A system call failed.
pub(crate) fn start_alone(
    executable: &Path,
    words: &[&str],
    identity: Option<&ChildIdentity>,
    socket: BorrowedFd<'_>,
) -> Result<Child, Errno> {
    let directory = here()?;
    Launcher::new()?.start_with(
        &Launch {
            executable,
            command_line: words,
            directory: directory.as_fd(),
            identity,
        },
        &[socket],
    )
}

/// The working directory. Paths on the command line may be relative to it.
fn here() -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(".", flags, Mode::empty())
}
