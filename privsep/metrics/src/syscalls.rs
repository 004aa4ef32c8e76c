//! The system calls of popward-metrics once it is confined, beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]). It opens no file and makes no socket.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The permitted calls, each with its use.
pub(crate) const TABLE: &[Rule] = &[
    // Receives records, and requests of clients.
    allow(libc::SYS_recvfrom),
    // Takes a client's connection.
    allow(libc::SYS_accept4),
    // Limits the time of a call for a client.
    allow_if(libc::SYS_setsockopt, 1, &[libc::SOL_SOCKET as u64])
        .and_if(2, &[libc::SO_RCVTIMEO as u64, libc::SO_SNDTIMEO as u64]),
    // Answers a client. No other address is named.
    allow_if(libc::SYS_sendto, 3, &[libc::MSG_NOSIGNAL as u64]).and_if(4, &[0]),
    // Answers a client of a local socket: the standard library of Rust 1.85 makes this call there. Says on
    // standard error why the process ends.
    allow(libc::SYS_write),
    // Closes a client's connection.
    allow(libc::SYS_close),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
    // Waits if no connection can be accepted.
    allow(libc::SYS_clock_nanosleep),
    // The hash maps' seeds.
    allow(libc::SYS_getrandom),
];
