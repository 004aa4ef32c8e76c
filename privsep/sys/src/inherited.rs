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

/// Takes the sockets that systemd passed (`sd_listen_fds(3)`): each with whether its name is `pop3s`.
///
/// To be called once, first, by a process that was not started by the monitor. None where systemd passed none.
pub fn from_systemd() -> Result<Vec<(OwnedFd, bool)>, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count: RawFd = variable("LISTEN_FDS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if !ours || !(1..=64).contains(&count) {
        return Ok(Vec::new());
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Errno::EALREADY);
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for raw in FIRST..FIRST + count {
        // SAFETY: `raw` is whatever it is; the flag is a plain integer, and a closed descriptor is an error.
        Errno::result(unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: systemd made it for this process and said so; `TAKEN` makes this its only owner.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        sockets.push((socket, names.next() == Some("pop3s")));
    }
    Ok(sockets)
}
