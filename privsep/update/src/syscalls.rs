//! The system calls that a worker or popward-adopt may make: [`TABLE`], and [`LOCKING`] too until
//! it holds its locks. It can never make a socket or start a program. Landlock decides which files
//! it can open.
//!
//! On aarch64, `rename`, `unlink` and `poll` do not exist. The C library uses the call that stands
//! next to each of them in the table.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if};

/// The system calls that serving a spool needs.
pub const TABLE: &[Rule] = &[
    // Reads the spool.
    allow(libc::SYS_pread64),
    // Moves kept messages.
    allow(libc::SYS_pwrite64),
    // Cuts the spool.
    allow(libc::SYS_ftruncate),
    // Waits until a step is on disk, before the next step.
    allow(libc::SYS_fsync),
    allow(libc::SYS_fdatasync),
    // Allocates room for the journal.
    allow(libc::SYS_fallocate),
    // Reads lengths.
    allow(libc::SYS_fstat),
    // Checks whether the dotlock is still this worker's.
    allow(libc::SYS_newfstatat),
    // Reads lengths and inodes.
    allow(libc::SYS_statx),
    // Waits until the file system's clock has moved on.
    allow(libc::SYS_clock_nanosleep),
    // Touches the dotlock.
    allow(libc::SYS_utimensat),
    // Opens, reads and writes the files of the state directory.
    allow(libc::SYS_openat),
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    // Makes the journal stand.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_rename),
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_renameat),
    // Removes the index, or files that were not finished.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_unlink),
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_unlinkat),
    // Waits for requests and for room for answers.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_ppoll),
    // Closes these files.
    allow(libc::SYS_close),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];

/// The system calls that only locking, and the confinement behind it, need.
pub const LOCKING: &[Rule] = &[
    // Makes the dotlock, and removes its draft and stale ones.
    allow(libc::SYS_linkat),
    allow(libc::SYS_unlinkat),
    // Locks the spool.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_OFD_SETLK as u64]),
    allow(libc::SYS_flock),
    // Keeps the spool's directory open for the end, when the dotlock is removed.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_DUPFD_CLOEXEC as u64]),
    // Detects NFS, where no flock is taken beside an fcntl lock.
    allow(libc::SYS_fstatfs),
    // Asks whether a lock's owner lives. Signal 0 does nothing.
    allow_if(libc::SYS_kill, 1, &[0]),
    // Gives the spool directory's group up. Without privilege, no other group can be taken.
    allow(libc::SYS_setresgid),
    // Proves that it is gone, and that nothing else can be gained.
    allow(libc::SYS_getresuid),
    allow(libc::SYS_getresgid),
    allow(libc::SYS_getgroups),
    allow(libc::SYS_capget),
    allow_if(
        libc::SYS_prctl,
        0,
        &[
            libc::PR_GET_NO_NEW_PRIVS as u64,
            libc::PR_GET_DUMPABLE as u64,
        ],
    ),
    allow_if(libc::SYS_prctl, 0, &[libc::PR_SET_DUMPABLE as u64]).and_if(1, &[0]),
    // Adds the rules that hold from then on. They can only take away.
    allow(libc::SYS_landlock_create_ruleset),
    allow(libc::SYS_landlock_add_rule),
    allow(libc::SYS_landlock_restrict_self),
    allow_if(
        libc::SYS_seccomp,
        0,
        &[libc::SECCOMP_SET_MODE_FILTER as u64],
    )
    .and_if(1, &[libc::SECCOMP_FILTER_FLAG_TSYNC]),
];
