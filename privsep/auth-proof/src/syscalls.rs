//! The system calls of popward-auth-proof, once it is confined, beyond
//! those of every Rust program ([`popward_sys::seccomp::RUNTIME`]) and those of its channel
//! ([`popward_sys::channel::CALLS`]). It reads one question and one file that auth has opened, and
//! it sends one answer.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The table of this process.
pub(crate) const PROOF: &[Rule] = &[
    // The file with keys or authorities.
    allow(libc::SYS_read),
    // The end of that file.
    allow(libc::SYS_close),
    // The library that verifies signatures.
    allow(libc::SYS_getrandom),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];
