//! The system calls of popward-config once it is confined: it reads files, and says what they mean. None makes a socket,
//! starts a process, changes a file or its name.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if, allow_without};

/// The flags of `openat` that do more than read.
const WRITING: u64 =
    (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;

/// What reading takes.
pub(crate) const TABLE: &[Rule] = &[
    allow_without(libc::SYS_openat, 2, WRITING, "files, to be read"),
    allow(libc::SYS_read, "the configuration"),
    allow(
        libc::SYS_pread64,
        "files whose descriptors are handed on: their offset stays at the start",
    ),
    allow(libc::SYS_lseek, "their lengths"),
    allow(libc::SYS_fstat, "their owners and lengths"),
    allow(libc::SYS_newfstatat, "owners of what is not opened"),
    allow(
        libc::SYS_statx,
        "the same, as the standard library calls it",
    ),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_readlink, "links on the way to a file"),
    allow(libc::SYS_readlinkat, "the same, on other architectures"),
    allow(libc::SYS_getcwd, "a path from the working directory"),
    allow(libc::SYS_uname, "the host's name"),
    allow(libc::SYS_geteuid, "whose the files may be"),
    allow(libc::SYS_close, "their end"),
    allow(libc::SYS_recvmsg, "what is to be read; users and groups"),
    allow(
        libc::SYS_sendmsg,
        "the configuration; questions about users and groups",
    ),
    allow(libc::SYS_getrandom, "hash tables"),
    allow_if(
        libc::SYS_fcntl,
        1,
        &[libc::F_GETFD as u64],
        "debug builds check descriptors before they close them",
    ),
];
