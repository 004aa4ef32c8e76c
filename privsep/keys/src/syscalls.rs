//! The system calls of keys once it is confined: it reads key files that it is given, and answers.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// What signing takes.
pub const TABLE: &[Rule] = &[
    allow(libc::SYS_poll, "waits for requests"),
    allow(libc::SYS_ppoll, "the same, as some libraries call it"),
    allow(libc::SYS_recvmsg, "requests"),
    allow(libc::SYS_sendmsg, "answers and records"),
    allow(
        libc::SYS_pread64,
        "key files, which the monitor hands on and keeps: their offset stays at the start",
    ),
    allow(libc::SYS_close, "their end"),
    allow(libc::SYS_getrandom, "signatures"),
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFL as u64,
            libc::F_SETFL as u64,
            libc::F_GETFD as u64,
        ],
        "a front's channel does not block",
    ),
];
