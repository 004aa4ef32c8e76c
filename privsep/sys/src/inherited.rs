//! The descriptors that the monitor gives to a process: the null device at 0 to 2, channels from 3
//! on.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor after the standard streams.
pub const FIRST: RawFd = 3;

/// Takes the `N` descriptors from the monitor, in order. Closes all descriptors behind them.
///
/// # Errors
///
/// `EBADF` if one of them is not open or is not a socket. `EALREADY` at a second call.
pub fn take<const N: usize>() -> Result<[OwnedFd; N], Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Errno::EALREADY);
    }
    let beyond = FIRST + RawFd::try_from(N).map_err(|_| Errno::EBADF)?;
    // SAFETY: nothing in this process owns a descriptor from `beyond` on. This is the first thing
    // that the process does with descriptors.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, beyond, libc::c_uint::MAX, 0) })?;
    for raw in FIRST..beyond {
        // SAFETY: the descriptor is used within this turn only. If it is not open, the first call
        // says so.
        let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
        if fstat(descriptor)?.st_mode & libc::S_IFMT != libc::S_IFSOCK {
            return Err(Errno::EBADF);
        }
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let mut raw = FIRST - 1;
    Ok([(); N].map(|()| {
        raw += 1;
        // SAFETY: `raw` is an open socket, as checked above. `TAKEN` makes this its only owner.
        unsafe { OwnedFd::from_raw_fd(raw) }
    }))
}
