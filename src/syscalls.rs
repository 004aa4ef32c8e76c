//! The system calls that a confined front may make, besides those that every Rust program needs
//! ([`popward_sys::seccomp::RUNTIME`]). None of them opens a file, creates a socket, starts a
//! process or names an address.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The rules of the front's filter.
pub(crate) const FRONT: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    // Waits for events.
    allow(libc::SYS_epoll_wait),
    // Waits for events on other architectures and with musl.
    allow(libc::SYS_epoll_pwait),
    // Watches the sockets of new clients and sessions.
    allow(libc::SYS_epoll_ctl),
    // Accepts clients.
    allow(libc::SYS_accept4),
    // Reads the waker's counter. Some versions of the library also read clients' sockets with it.
    allow(libc::SYS_read),
    // Writes the waker's counter and TLS alerts.
    allow(libc::SYS_write),
    // Writes a reply's line, its data and its end in one call. Also TLS records.
    allow(libc::SYS_writev),
    // Receives clients' commands.
    allow(libc::SYS_recvfrom),
    // Sends replies.
    allow(libc::SYS_sendto),
    // Use the channels to the other processes.
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendmsg),
    // Reads a new certificate from the descriptor that the monitor opened.
    allow(libc::SYS_pread64),
    // Ends a connection in order.
    allow(libc::SYS_shutdown),
    // Closes the sockets of clients and sessions.
    allow(libc::SYS_close),
    // Sets a session's socket to non-blocking. Debug builds also check descriptors before they
    // close them.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFD as u64,
            libc::F_GETFL as u64,
            libc::F_SETFL as u64,
        ],
    ),
    // Sets the time limit for signatures on a new channel to keys.
    allow_if(
        libc::SYS_setsockopt,
        2,
        &[libc::SO_RCVTIMEO as u64, libc::SO_SNDTIMEO as u64],
    ),
    // Asks how much of a reply a slow client has not acknowledged.
    allow_if(libc::SYS_ioctl, 1, &[libc::TIOCOUTQ]),
    // Random numbers for TLS.
    allow(libc::SYS_getrandom),
    // Yields while a lock between the handshake threads is held.
    allow(libc::SYS_sched_yield),
];
