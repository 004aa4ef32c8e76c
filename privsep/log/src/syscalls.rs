//! The system calls of popward-log once it is confined, beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]) and those of its channels ([`popward_sys::channel::CALLS`]).
//! It opens no file, and its only sockets are local datagram sockets.
//!
//! None changes an open file for others. Standard error belongs to whoever started popward too, and
//! the supervisor hands over sockets that do not block.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The permitted calls, each with its use.
pub(crate) const TABLE: &[Rule] = &[
    // Sends lines to journald and syslog, and names no other address.
    allow_if(libc::SYS_sendto, 3, &[libc::MSG_NOSIGNAL as u64]).and_null(4),
    // Writes lines to standard error.
    allow(libc::SYS_write),
    #[cfg(target_arch = "x86_64")]
    // Waits for lines.
    allow(libc::SYS_poll),
    // The same, on other architectures. It changes no signal mask.
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_ppoll).and_null(3),
    // Makes the socket to journald or syslog.
    allow_if(libc::SYS_socket, 0, &[libc::AF_UNIX as u64])
        .and_if(
            1,
            &[(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64],
        )
        .and_if(2, &[0]),
    // Connects it. The program of the log may have been started again.
    allow(libc::SYS_connect),
    // Closes the channels of processes that have ended.
    allow(libc::SYS_close),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];
