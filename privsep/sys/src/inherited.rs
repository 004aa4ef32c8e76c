//! What a process was given: descriptors 0 to 2 at the null device, the channels from 3 on, and nothing else.

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that a process finds beyond its null standard streams.
pub const FIRST: RawFd = 3;

/// Takes the `N` descriptors that the monitor gave, in order, and closes every other one beyond them.
///
/// Errors: `EBADF` where one of them is not open or is no socket, `EALREADY` at a second call.
pub fn take<const N: usize>() -> Result<[OwnedFd; N], Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Errno::EALREADY);
    }
    let beyond = FIRST + RawFd::try_from(N).map_err(|_| Errno::EBADF)?;
    // SAFETY: nothing in this process owns a descriptor from `beyond` on: this is its first act on descriptors.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, beyond, libc::c_uint::MAX, 0) })?;
    for raw in FIRST..beyond {
        // SAFETY: `fstat` writes to the zeroed structure that it is given, and all-zero is a valid `stat`.
        let status = unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            Errno::result(libc::fstat(raw, &raw mut status))?;
            status
        };
        if status.st_mode & libc::S_IFMT != libc::S_IFSOCK {
            return Err(Errno::EBADF);
        }
        // SAFETY: `raw` is open; the flag is a plain integer.
        Errno::result(unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    let mut raw = FIRST - 1;
    Ok([(); N].map(|()| {
        raw += 1;
        // SAFETY: `raw` is an open socket, checked above, and `TAKEN` makes this the only owner made of it.
        unsafe { OwnedFd::from_raw_fd(raw) }
    }))
}
