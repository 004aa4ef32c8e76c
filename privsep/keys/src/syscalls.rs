//! The system calls that keys may make once it is confined, beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]) and those of its channels ([`popward_sys::channel::CALLS`]):
//! requests, answers, log records. None opens a file.
//!
//! None changes an open file or socket for others. The monitor keeps the open key files for the
//! next keys process, and hands over sockets that do not block.
//!
//! aarch64 has no `poll`. Its C library calls `ppoll`.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The table of keys.
pub const TABLE: &[Rule] = &[
    // Waits for requests.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    // The same, on other architectures. It changes no signal mask.
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_ppoll).and_null(3),
    // Key files. The call leaves their offset at the start.
    allow(libc::SYS_pread64),
    // The end of key files and of channels.
    allow(libc::SYS_close),
    // Signatures.
    allow(libc::SYS_getrandom),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];
