//! The system calls of popward-log once it is confined. It opens no file, and its only sockets are
//! local datagram sockets.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The permitted calls, each with its use.
pub(crate) const TABLE: &[Rule] = &[
    // Receives lines, and the supervisor's messages.
    allow(libc::SYS_recvmsg),
    // Sends lines to journald and syslog.
    allow(libc::SYS_sendto),
    // Writes lines to standard error.
    allow(libc::SYS_write),
    #[cfg(target_arch = "x86_64")]
    // Waits for lines.
    allow(libc::SYS_poll),
    // The same, on other architectures.
    allow(libc::SYS_ppoll),
    // Makes the socket to journald or syslog.
    allow_if(libc::SYS_socket, 0, &[libc::AF_UNIX as u64]),
    // Connects it. The program of the log may have been started again.
    allow(libc::SYS_connect),
    // Makes sockets non-blocking.
    allow(libc::SYS_ioctl),
    allow(libc::SYS_fcntl),
    // Closes the channels of processes that have ended.
    allow(libc::SYS_close),
];
