//! The system calls that a confined front may make, besides those that every Rust program needs
//! ([`popward_sys::seccomp::RUNTIME`]) and those of its channels ([`popward_sys::channel::CALLS`]).
//! None of them opens a file, creates a socket, starts a process or names an address.
//!
//! None of them changes a socket for others, either: a front shares the listening sockets with the
//! next front. So the monitor hands over sockets that need no change.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The rules of the front's filter.
pub(crate) const FRONT: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    // Waits for events.
    allow(libc::SYS_epoll_wait),
    // Waits for events on other architectures and with musl. It changes no signal mask.
    allow(libc::SYS_epoll_pwait).and_null(4),
    // Watches the sockets of new clients and sessions.
    allow(libc::SYS_epoll_ctl),
    // Accepts clients. Their sockets do not block, and close on exec.
    allow_if(
        libc::SYS_accept4,
        3,
        &[(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u64],
    ),
    // Reads the waker's counter. Some versions of the library also read clients' sockets with it.
    allow(libc::SYS_read),
    // Writes the waker's counter and TLS alerts.
    allow(libc::SYS_write),
    // Writes a reply's line, its data and its end in one call. Also TLS records.
    allow(libc::SYS_writev),
    // Receives clients' commands, and looks at a PROXY header before it is complete.
    allow_if(libc::SYS_recvfrom, 3, &[0, libc::MSG_PEEK as u64]),
    // Sends replies. With MSG_FASTOPEN and an address, the call would connect a listening socket
    // that was shut down.
    allow_if(libc::SYS_sendto, 3, &[libc::MSG_NOSIGNAL as u64]).and_null(4),
    // Ends a connection in order. Every other way would close a listening socket for all processes
    // that have it.
    allow_if(libc::SYS_shutdown, 1, &[libc::SHUT_WR as u64]),
    // Closes the sockets of clients and sessions.
    allow(libc::SYS_close),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
    // Asks how much of a reply a slow client has not acknowledged.
    allow_if(libc::SYS_ioctl, 1, &[libc::TIOCOUTQ]),
    // Random numbers for TLS.
    allow(libc::SYS_getrandom),
    // Yields while a lock between the handshake threads is held.
    allow(libc::SYS_sched_yield),
];

#[cfg(test)]
mod tests;
