//! The system calls of popward-config once it is confined, beyond those of every Rust program
//! ([`popward_sys::seccomp::RUNTIME`]) and those of its channels ([`popward_sys::channel::CALLS`]):
//! the supervisor's request, the configuration, questions about users and groups. It reads files
//! and sends messages. No call makes a socket, starts a process, changes a file or renames it.

use popward_sys::libc;
use popward_sys::seccomp::{Rule, allow, allow_if, allow_without};

/// The flags of `openat` that do more than read.
const WRITING: u64 =
    (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;

/// The permitted calls, each with its use.
pub(crate) const TABLE: &[Rule] = &[
    // Opens files for reading only.
    allow_without(libc::SYS_openat, 2, WRITING),
    // Reads the configuration.
    allow(libc::SYS_read),
    // Reads the files whose descriptors the supervisor gets. The call leaves their offset at the
    // start.
    allow(libc::SYS_pread64),
    // Lists the directory beside the configuration.
    allow(libc::SYS_getdents64),
    // Finds the owner and the length of an open file.
    allow(libc::SYS_fstat),
    // Finds the owner of a file that is not opened.
    allow(libc::SYS_newfstatat),
    // The same. The standard library uses this call.
    allow(libc::SYS_statx),
    #[cfg(target_arch = "x86_64")]
    // Reads symbolic links on the way to a file.
    allow(libc::SYS_readlink),
    // The same, on other architectures.
    #[cfg(not(target_arch = "x86_64"))]
    allow(libc::SYS_readlinkat),
    // Makes a relative path absolute.
    allow(libc::SYS_getcwd),
    // Finds the host's name.
    allow(libc::SYS_uname),
    // Finds the user that may own the files besides root.
    allow(libc::SYS_geteuid),
    // Closes files.
    allow(libc::SYS_close),
    // Hash tables of the standard library need random numbers.
    allow(libc::SYS_getrandom),
    // Debug builds check descriptors before they close them.
    allow_if(libc::SYS_fcntl, 1, &[libc::F_GETFD as u64]),
];

/// What a command of the operator may do besides: print, and find out what the host gives.
pub(crate) const PRINTING: &[Rule] = &[
    allow_if(libc::SYS_write, 0, &[1, 2]),
    // Asks for the version of Landlock.
    allow_if(libc::SYS_landlock_create_ruleset, 2, &[1]),
    // Finds the free room of a file system.
    allow(libc::SYS_statfs),
];
