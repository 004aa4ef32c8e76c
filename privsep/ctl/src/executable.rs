//! Popward's other executables: where they are, and how one is started.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_sys::spawn::{Child, ChildIdentity, Spawn, spawn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
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
        groups,
        ..ChildIdentity::of(uid, gid)
    }
}

/// Starts an executable with these sockets, in the working directory: paths on the command line may
/// be relative to it.
///
/// # Errors
///
/// A system call failed.
pub(crate) fn start(
    executable: &Path,
    words: &[&str],
    identity: Option<&ChildIdentity>,
    sockets: &[BorrowedFd<'_>],
) -> Result<Child, Errno> {
    let open = |path, flags| open(path, OFlag::O_CLOEXEC | flags, Mode::empty());
    spawn(&Spawn {
        executable,
        arguments: words,
        null: open("/dev/null", OFlag::O_RDWR)?.as_fd(),
        descriptors: sockets,
        directory: open(".", OFlag::O_PATH | OFlag::O_DIRECTORY)?.as_fd(),
        identity,
    })
}
