//! The system calls that auth may make once it has its settings and needs no NSS
//! ([`crate::confinement`]), beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]) and those of its channels ([`popward_sys::channel::CALLS`]).
//!
//! None makes a socket, starts a process or changes a file. Landlock decides which files can be
//! read.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if, allow_without};

/// What openat(2) needs to change a file, or to open one without reading it.
const WRITING: libc::c_int =
    libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH;

/// The table of auth.
pub(crate) const AUTH: &[Rule] = &[
    // Waits for messages.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    // The same, on other architectures. It changes no signal mask.
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_ppoll).and_null(3),
    // Opens the password file, and files of keys and authorities. Only for reading.
    allow_without(libc::SYS_openat, 2, WRITING as u64),
    // Asks for the owner, the mode and the length of these files.
    allow(libc::SYS_statx),
    allow(libc::SYS_fstat),
    // Reads these files, and the counter that threads write.
    allow(libc::SYS_read),
    allow(libc::SYS_lseek),
    // Tells the main thread of a verdict.
    allow(libc::SYS_write),
    // The end of files and of channels.
    allow(libc::SYS_close),
    // Makes new channels return instead of wait. Debug builds check descriptors before they close
    // them.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFL as u64,
            libc::F_SETFL as u64,
            libc::F_GETFD as u64,
        ],
    ),
    // Tells the process of a conversation that it is over.
    allow_if(libc::SYS_shutdown, 1, &[libc::SHUT_WR as u64]),
    // Nonces of SCRAM.
    allow(libc::SYS_getrandom),
    // Threads that find a queue busy.
    allow(libc::SYS_sched_yield),
    // The allocator asks for the number of processors when a thread first needs memory.
    allow(libc::SYS_sched_getaffinity),
];
