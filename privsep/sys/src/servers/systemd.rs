//! The descriptors that the first process gets: the standard streams, and listening sockets from
//! systemd.

use crate::inherited::FIRST;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of sockets from systemd. They begin at [`FIRST`].
fn count() -> u16 {
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = variable("LISTEN_FDS").and_then(|n| n.parse().ok());
    count.filter(|_| ours).unwrap_or(0)
}

/// Closes every descriptor but the standard streams and the sockets from systemd. Whoever started
/// the server may have left others open, and the server's processes must not have them.
///
/// To be called once, before this process opens anything.
///
/// # Errors
///
/// The system call failed.
pub fn close_others() -> Result<(), Errno> {
    let first = FIRST + RawFd::from(count());
    // SAFETY: nothing in this process owns a descriptor from `first` on. This is the first thing that
    // the process does with descriptors.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    Errno::result(closed).map(drop)
}

/// Takes the sockets from systemd (`sd_listen_fds(3)`). With each comes whether its name is
/// `pop3s`.
///
/// The supervisor calls this once. The list is empty if systemd passed none.
///
/// # Errors
///
/// `EALREADY` at a second call. `EBADF` if a descriptor is not open.
pub fn sockets() -> Result<Vec<(OwnedFd, bool)>, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let count = count();
    if count == 0 {
        return Ok(Vec::new());
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Errno::EALREADY);
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for raw in FIRST..FIRST + RawFd::from(count) {
        // SAFETY: the flag is a plain integer. If `raw` is not open, the call fails.
        Errno::result(unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: systemd has opened it for this process, as LISTEN_PID says. `TAKEN` makes this
        // its only owner.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        sockets.push((socket, names.next() == Some("pop3s")));
    }
    Ok(sockets)
}
