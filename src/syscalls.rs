//! The system calls that a front may make once it is confined, beyond what every Rust program calls
//! ([`popward_sys::seccomp::RUNTIME`]). None opens a file, makes a socket, starts a process or names an address.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The front's table.
pub(crate) const FRONT: &[Rule] = &[
    #[cfg(target_arch = "x86_64")]
    // The event loop.
    allow(libc::SYS_epoll_wait),
    // The event loop, on other architectures and by musl.
    allow(libc::SYS_epoll_pwait),
    // New clients and sessions are watched.
    allow(libc::SYS_epoll_ctl),
    // Clients.
    allow(libc::SYS_accept4),
    // The waker's counter; clients' sockets, by some versions of the library.
    allow(libc::SYS_read),
    // The waker's counter; TLS alerts.
    allow(libc::SYS_write),
    // A reply's line, its data and its end in one call; TLS records.
    allow(libc::SYS_writev),
    // Clients' commands.
    allow(libc::SYS_recvfrom),
    // Replies.
    allow(libc::SYS_sendto),
    // The channels to the other processes.
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendmsg),
    // A new certificate, from the descriptor that the monitor opened.
    allow(libc::SYS_pread64),
    // A connection's orderly end.
    allow(libc::SYS_shutdown),
    // Clients and sessions end.
    allow(libc::SYS_close),
    // A session's socket is set not to block; debug builds check descriptors before they close them.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFD as u64,
            libc::F_GETFL as u64,
            libc::F_SETFL as u64,
        ],
    ),
    // The limit on a signature, on a channel to keys that comes in another's place.
    allow_if(
        libc::SYS_setsockopt,
        2,
        &[libc::SO_RCVTIMEO as u64, libc::SO_SNDTIMEO as u64],
    ),
    // How much of a reply a slow client has not taken.
    allow_if(libc::SYS_ioctl, 1, &[libc::TIOCOUTQ]),
    // TLS.
    allow(libc::SYS_getrandom),
    // Locks between the handshake threads.
    allow(libc::SYS_sched_yield),
];
