//! The system calls of popward-config once it is confined: it reads files, and says what they mean. None makes a socket,
//! starts a process, changes a file or its name.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if, allow_without};

/// The flags of `openat` that do more than read.
const WRITING: u64 =
    (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;

/// What reading takes.
pub(crate) const TABLE: &[Rule] = &[
    // Files, to be read.
    allow_without(libc::SYS_openat, 2, WRITING),
    // The configuration.
    allow(libc::SYS_read),
    // Files whose descriptors are handed on: their offset stays at the start.
    allow(libc::SYS_pread64),
    // Their lengths.
    allow(libc::SYS_lseek),
    // Their owners and lengths.
    allow(libc::SYS_fstat),
    // Owners of what is not opened.
    allow(libc::SYS_newfstatat),
    // The same, as the standard library calls it.
    allow(libc::SYS_statx),
    #[cfg(target_arch = "x86_64")]
    // Links on the way to a file.
    allow(libc::SYS_readlink),
    // The same, on other architectures.
    allow(libc::SYS_readlinkat),
    // A path from the working directory.
    allow(libc::SYS_getcwd),
    // The host's name.
    allow(libc::SYS_uname),
    // Whose the files may be.
    allow(libc::SYS_geteuid),
    // Their end.
    allow(libc::SYS_close),
    // What is to be read; users and groups.
    allow(libc::SYS_recvmsg),
    // The configuration; questions about users and groups.
    allow(libc::SYS_sendmsg),
    // Hash tables.
    allow(libc::SYS_getrandom),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];
