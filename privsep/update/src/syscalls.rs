//! The worker's system calls once its locks are taken. It can make no socket, start no program, and open (by Landlock)
//! only what lies in its user's state directory.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// What serving a spool takes.
pub const TABLE: &[Rule] = &[
    allow(libc::SYS_pread64, "reads the spool"),
    allow(libc::SYS_pwrite64, "moves kept messages"),
    allow(libc::SYS_ftruncate, "cuts the spool"),
    allow(libc::SYS_fsync, "before the next step"),
    allow(libc::SYS_fdatasync, "before the next step"),
    allow(libc::SYS_fallocate, "room for the journal"),
    allow(libc::SYS_fstat, "lengths"),
    allow(libc::SYS_newfstatat, "whether the dotlock is still ours"),
    allow(libc::SYS_statx, "lengths and inodes"),
    allow(
        libc::SYS_clock_nanosleep,
        "until the file system's clock has moved on",
    ),
    allow(libc::SYS_utimensat, "touches the dotlock"),
    allow(libc::SYS_openat, "the journal"),
    allow(libc::SYS_read, "the journal"),
    allow(libc::SYS_write, "the journal"),
    allow(
        libc::SYS_copy_file_range,
        "tried by the copy of a journal's bytes",
    ),
    allow(libc::SYS_lseek, "the journal"),
    allow(libc::SYS_rename, "the journal becomes valid"),
    allow(libc::SYS_renameat, "the journal becomes valid"),
    allow(libc::SYS_unlink, "the journal is done"),
    allow(libc::SYS_unlinkat, "the journal is done"),
    allow(libc::SYS_recvmsg, "requests"),
    allow(libc::SYS_sendmsg, "answers and records"),
    allow(
        libc::SYS_poll,
        "waits for requests and for room for answers",
    ),
    allow(libc::SYS_ppoll, "the same, as some libraries call it"),
    allow(libc::SYS_close, "the journal"),
    allow(libc::SYS_flock, "the flock is given back"),
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFD as u64,
            libc::F_GETFL as u64,
            libc::F_DUPFD_CLOEXEC as u64,
        ],
        "checks of the runtime",
    ),
    allow(libc::SYS_fstatfs, "no flock on NFS"),
    allow(libc::SYS_getrandom, "the runtime's hash maps"),
];
