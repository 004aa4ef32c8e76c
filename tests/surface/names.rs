//! Names of system calls and of their arguments' values.

use nix::libc;

macro_rules! names {
    ($($name:ident)*) => {
        &[$((concat!(stringify!($name)), libc::$name)),*]
    };
}

/// The calls that this test has met, or that a table has.
const CALLS: &[(&str, i64)] = names![
    SYS_read SYS_write SYS_open SYS_close SYS_stat SYS_fstat SYS_lstat SYS_poll SYS_lseek SYS_mmap
    SYS_mprotect SYS_munmap SYS_brk SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_ioctl
    SYS_pread64 SYS_pwrite64 SYS_readv SYS_writev SYS_access SYS_pipe SYS_select SYS_sched_yield
    SYS_mremap SYS_madvise SYS_dup SYS_dup2 SYS_pause SYS_nanosleep SYS_getitimer SYS_alarm
    SYS_setitimer SYS_getpid SYS_sendfile SYS_socket SYS_connect SYS_accept SYS_sendto SYS_recvfrom
    SYS_sendmsg SYS_recvmsg SYS_shutdown SYS_bind SYS_listen SYS_getsockname SYS_getpeername
    SYS_socketpair SYS_setsockopt SYS_getsockopt SYS_clone SYS_fork SYS_vfork SYS_execve SYS_exit
    SYS_wait4 SYS_kill SYS_uname SYS_fcntl SYS_flock SYS_fsync SYS_fdatasync SYS_truncate
    SYS_ftruncate SYS_getdents SYS_getcwd SYS_chdir SYS_fchdir SYS_rename SYS_mkdir SYS_rmdir
    SYS_creat SYS_link SYS_unlink SYS_symlink SYS_readlink SYS_chmod SYS_fchmod SYS_chown SYS_fchown
    SYS_lchown SYS_umask SYS_gettimeofday SYS_getrlimit SYS_getrusage SYS_sysinfo SYS_times
    SYS_ptrace SYS_getuid SYS_getgid SYS_setuid SYS_setgid SYS_geteuid SYS_getegid SYS_setpgid
    SYS_getppid SYS_getpgrp SYS_setsid SYS_setreuid SYS_setregid SYS_getgroups SYS_setgroups
    SYS_setresuid SYS_getresuid SYS_setresgid SYS_getresgid SYS_getpgid SYS_setfsuid SYS_setfsgid
    SYS_getsid SYS_capget SYS_capset SYS_rt_sigpending SYS_rt_sigtimedwait SYS_rt_sigsuspend
    SYS_sigaltstack SYS_utime SYS_personality SYS_statfs SYS_fstatfs SYS_getpriority SYS_setpriority
    SYS_mlock SYS_munlock SYS_mlockall SYS_munlockall SYS_prctl SYS_arch_prctl SYS_setrlimit
    SYS_chroot SYS_sync SYS_gettid SYS_time SYS_futex SYS_sched_setaffinity SYS_sched_getaffinity
    SYS_epoll_create SYS_getdents64 SYS_set_tid_address SYS_restart_syscall SYS_fadvise64
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_exit_group SYS_epoll_wait
    SYS_epoll_ctl SYS_tgkill SYS_utimes SYS_waitid SYS_add_key SYS_request_key SYS_keyctl
    SYS_inotify_init SYS_openat SYS_mkdirat SYS_mknodat SYS_fchownat SYS_newfstatat SYS_unlinkat
    SYS_renameat SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchmodat SYS_faccessat SYS_pselect6
    SYS_ppoll SYS_unshare SYS_set_robust_list SYS_get_robust_list SYS_splice SYS_utimensat
    SYS_epoll_pwait SYS_signalfd SYS_timerfd_create SYS_eventfd SYS_fallocate SYS_timerfd_settime
    SYS_accept4 SYS_signalfd4 SYS_eventfd2 SYS_epoll_create1 SYS_dup3 SYS_pipe2 SYS_preadv
    SYS_pwritev SYS_prlimit64 SYS_syncfs SYS_sendmmsg SYS_recvmmsg SYS_getcpu SYS_renameat2
    SYS_seccomp SYS_getrandom SYS_memfd_create SYS_execveat SYS_mlock2 SYS_copy_file_range SYS_statx
    SYS_rseq SYS_pidfd_send_signal SYS_pidfd_open SYS_clone3 SYS_close_range SYS_openat2
    SYS_faccessat2 SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
];

const FUTEXES: &[(&str, i32)] = names![
    FUTEX_WAIT FUTEX_WAKE FUTEX_WAIT_BITSET
];
const FCNTLS: &[(&str, i32)] = names![
    F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC F_OFD_SETLK
];
const ADVICE: &[(&str, i32)] = names![MADV_DONTNEED MADV_FREE];
const PRCTLS: &[(&str, i32)] = names![
    PR_GET_SECCOMP PR_GET_NO_NEW_PRIVS PR_GET_DUMPABLE PR_SET_DUMPABLE
];

/// The name of a call.
pub fn call(number: i64) -> String {
    let found = CALLS.iter().find(|(_, one)| *one == number);
    found.map_or_else(
        || format!("call {number}"),
        |(name, _)| name.trim_start_matches("SYS_").to_owned(),
    )
}

/// A value of the argument `argument` of a call, as text.
pub fn value(number: i64, argument: u8, value: u32) -> String {
    let names = match (number, argument) {
        (libc::SYS_fcntl, 1) => FCNTLS,
        (libc::SYS_madvise, 2) => ADVICE,
        (libc::SYS_prctl, 0) => PRCTLS,
        (libc::SYS_futex, 1) => return futex(value),
        (libc::SYS_tgkill, 0) => return "itself".to_owned(),
        _ => &[],
    };
    let found = names.iter().find(|(_, one)| *one as u32 == value);
    found.map_or_else(|| format!("{value:#x}"), |(name, _)| (*name).to_owned())
}

fn futex(value: u32) -> String {
    let flags = (libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32;
    let found = FUTEXES
        .iter()
        .find(|(_, one)| *one as u32 == value & !flags);
    let mut name = found.map_or("?", |(name, _)| *name).to_owned();
    if value & libc::FUTEX_PRIVATE_FLAG as u32 != 0 {
        name += "|PRIVATE";
    }
    if value & libc::FUTEX_CLOCK_REALTIME as u32 != 0 {
        name += "|REALTIME";
    }
    name
}

/// Capabilities, by their numbers.
pub const CAPABILITIES: &[(u32, &str)] = &[
    (0, "CHOWN"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (8, "SETPCAP"),
    (18, "SYS_CHROOT"),
    (21, "SYS_ADMIN"),
    (24, "SYS_RESOURCE"),
];
