//! flock(2) on an open file. nix gives such a lock back by itself, and ends the process if the
//! kernel refuses that.

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsFd, AsRawFd};

/// Takes an exclusive lock without waiting. It ends when all descriptors of this open file are
/// closed.
///
/// # Errors
///
/// `EAGAIN` if another process holds a lock.
pub fn lock(file: impl AsFd) -> nix::Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: the call takes numbers only, and the descriptor is open.
    Errno::result(unsafe { libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}
