//! The system calls of a child that looks at a token or a certificate, once it is confined: one question, one file that
//! auth opened, one answer.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// What a proof takes.
pub(super) const PROOF: &[Rule] = &[
    allow(libc::SYS_recvmsg, "the question"),
    allow(libc::SYS_sendmsg, "the answer"),
    allow(libc::SYS_read, "the file with keys or authorities"),
    allow(libc::SYS_fstat, "its length"),
    allow(libc::SYS_statx, "its length"),
    allow(libc::SYS_lseek, "its length"),
    allow(libc::SYS_close, "its end"),
    allow(libc::SYS_getrandom, "the library that verifies signatures"),
    allow_if(
        libc::SYS_fcntl,
        1,
        &[libc::F_GETFD as u64],
        "debug builds check descriptors before they close them",
    ),
];
