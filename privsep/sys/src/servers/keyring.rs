//! The session keyring (keyrings(7)): the keys that a process has from whoever started it, such as
//! those of root's login session.

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
pub(crate) const JOIN_SESSION_KEYRING: c_int = 1;

/// Leaves the session keyring of whoever started this process, and joins a new, empty one.
///
/// This is the keyring of the thread that calls, and of the processes and threads that it starts.
///
/// # Errors
///
/// The system call failed. Where there are no keyrings, or a container forbids the call, there is
/// nothing to leave: that is no error.
pub fn leave() -> Result<(), Errno> {
    // SAFETY: without a name, the call reads no memory.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0_usize) };
    match Errno::result(joined) {
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}
