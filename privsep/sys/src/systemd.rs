//! The sockets that systemd passes to the monitor.

use crate::inherited::FIRST;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes the sockets that systemd passed (`sd_listen_fds(3)`): each with whether its name is `pop3s`.
///
/// To be called once, first, by a process that was not started by the monitor. None where systemd passed none.
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
        // SAFETY: `raw` is whatever it is; the flag is a plain integer, and a closed descriptor is an error.
        Errno::result(unsafe { libc::fcntl(raw, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        // SAFETY: systemd made it for this process and said so; `TAKEN` makes this its only owner.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        sockets.push((socket, names.next() == Some("pop3s")));
    }
    Ok(sockets)
}
