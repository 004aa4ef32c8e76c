//! The system calls that keys may make once it is confined, beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]). None opens a file.
//!
//! aarch64 has no `poll`. Its C library calls `ppoll`.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The table of keys.
pub const TABLE: &[Rule] = &[
    // Waits for requests.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    // The same, as some libraries call it.
    allow(libc::SYS_ppoll),
    // Requests.
    allow(libc::SYS_recvmsg),
    // Answers and log records.
    allow(libc::SYS_sendmsg),
    // Key files. The monitor keeps the open files for the next keys process, so their offset must
    // stay at the start.
    allow(libc::SYS_pread64),
    // The end of key files and of channels.
    allow(libc::SYS_close),
    // Signatures.
    allow(libc::SYS_getrandom),
    // Sets a front's channel not to block. Debug builds check descriptors before they close them.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFL as u64,
            libc::F_SETFL as u64,
            libc::F_GETFD as u64,
        ],
    ),
];
