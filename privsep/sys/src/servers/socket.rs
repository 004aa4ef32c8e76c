//! A question to a TCP socket that safe libraries do not offer.

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of bytes that were written to a TCP socket and that its peer has not acknowledged yet
/// (tcp(7), SIOCOUTQ).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one `int` to its argument and nothing else. For a descriptor that
    // is not a socket it fails.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}
