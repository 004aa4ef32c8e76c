//! The worker's system calls once its locks are taken. It can make no socket, start no program, and open (by Landlock)
//! only what lies in its user's state directory.
//!
//! aarch64 has no `rename`, `unlink` and `poll`. Its C library makes the calls that stand beside them.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// What serving a spool takes.
pub const TABLE: &[Rule] = &[
    // Reads the spool.
    allow(libc::SYS_pread64),
    // Moves kept messages.
    allow(libc::SYS_pwrite64),
    // Cuts the spool.
    allow(libc::SYS_ftruncate),
    // Before the next step.
    allow(libc::SYS_fsync),
    allow(libc::SYS_fdatasync),
    // Room for the journal.
    allow(libc::SYS_fallocate),
    // Lengths.
    allow(libc::SYS_fstat),
    // Whether the dotlock is still ours.
    allow(libc::SYS_newfstatat),
    // Lengths and inodes.
    allow(libc::SYS_statx),
    // Until the file system's clock has moved on.
    allow(libc::SYS_clock_nanosleep),
    // Touches the dotlock.
    allow(libc::SYS_utimensat),
    // The journal.
    allow(libc::SYS_openat),
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    // Tried by the copy of a journal's bytes.
    allow(libc::SYS_copy_file_range),
    // The journal.
    allow(libc::SYS_lseek),
    // The journal becomes valid.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_rename),
    allow(libc::SYS_renameat),
    // The journal is done.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_unlink),
    allow(libc::SYS_unlinkat),
    // Requests.
    allow(libc::SYS_recvmsg),
    // Answers and records.
    allow(libc::SYS_sendmsg),
    // Waits for requests and for room for answers.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    // The same, as some libraries call it.
    allow(libc::SYS_ppoll),
    // The journal.
    allow(libc::SYS_close),
    // The flock is given back.
    allow(libc::SYS_flock),
    // Checks of the runtime.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFD as u64,
            libc::F_GETFL as u64,
            libc::F_DUPFD_CLOEXEC as u64,
        ],
    ),
    // No flock on NFS.
    allow(libc::SYS_fstatfs),
    // The runtime's hash maps.
    allow(libc::SYS_getrandom),
];
