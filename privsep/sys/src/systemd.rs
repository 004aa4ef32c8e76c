//! The listening sockets that systemd passes to the monitor.

use crate::inherited::FIRST;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the sockets from systemd (`sd_listen_fds(3)`). With each comes whether its name is
/// `pop3s`.
///
/// The monitor calls this once, before it opens anything. The list is empty if systemd passed none.
///
/// # Errors
///
/// `EALREADY` at a second call. `EBADF` if a descriptor is not open.
pub fn sockets() -> Result<Vec<(OwnedFd, bool)>, Errno> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count: u16 = variable("LISTEN_FDS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if !ours || count == 0 {
        return Ok(Vec::new());
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Errno::EALREADY);
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
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
