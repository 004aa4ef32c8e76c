//! What safe libraries do not ask of a TCP socket.

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many bytes that were written to a TCP socket its peer has not acknowledged (tcp(7), SIOCOUTQ).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int` to its argument and nothing else; a descriptor that is no socket is an error.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}
