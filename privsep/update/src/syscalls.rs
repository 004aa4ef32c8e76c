//! The system calls that a worker or popward-adopt may make once it holds its locks. It can make no
//! socket and start no program. Landlock lets it open only files in its user's state directory.
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
    // Rust's standard library tries this call when it copies between files.
    allow(libc::SYS_copy_file_range),
    // Seeks in these files.
    allow(libc::SYS_lseek),
    // Makes the journal stand.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_rename),
    allow(libc::SYS_renameat),
    // Removes the index, or files that were not finished.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_unlink),
    allow(libc::SYS_unlinkat),
    // Receives requests.
    allow(libc::SYS_recvmsg),
    // Sends answers and log records.
    allow(libc::SYS_sendmsg),
    // Waits for requests and for room for answers.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    // Does the same, for libraries that call it instead.
    allow(libc::SYS_ppoll),
    // Closes these files.
    allow(libc::SYS_close),
    // The Rust runtime checks its descriptors.
    allow_if(
        libc::SYS_fcntl,
        1,
        &[
            libc::F_GETFD as u64,
            libc::F_GETFL as u64,
            libc::F_DUPFD_CLOEXEC as u64,
        ],
    ),
    // Detects NFS, where no flock is taken beside an fcntl lock.
    allow(libc::SYS_fstatfs),
    // Seeds the hash maps of the Rust runtime.
    allow(libc::SYS_getrandom),
];
