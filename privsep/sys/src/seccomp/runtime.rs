//! The table of the calls of every Rust program. All processes with a table of calls have it.

use super::{Rule, THIS_PROCESS, allow, allow_if, allow_without};
use nix::libc;

/// The calls of every Rust program: memory, its end, the proof of its own filter.
pub const RUNTIME: &[Rule] = &[
    // The allocator.
    allow(libc::SYS_brk),
    // The allocator. Memory is never made executable.
    allow_without(libc::SYS_mmap, 2, libc::PROT_EXEC as u64),
    allow_without(libc::SYS_mprotect, 2, libc::PROT_EXEC as u64),
    // The allocator.
    allow(libc::SYS_munmap),
    // The allocator, for large vectors.
    allow(libc::SYS_mremap),
    // The allocator and the end of a thread give memory back. Other advice shares pages with other
    // processes, or puts them into dumps.
    allow_if(
        libc::SYS_madvise,
        2,
        &[libc::MADV_DONTNEED as u64, libc::MADV_FREE as u64],
    ),
    // The end of the process.
    allow(libc::SYS_exit_group),
    // A thread's end.
    allow(libc::SYS_exit),
    // Locks between threads, also those of the runtime.
    allow_if(libc::SYS_futex, 1, LOCKS),
    // The time, if the vDSO has to ask the kernel.
    allow(libc::SYS_clock_gettime),
    // The kernel makes this call after a process was stopped.
    allow(libc::SYS_restart_syscall),
    // The way back from a signal handler.
    allow(libc::SYS_rt_sigreturn),
    // `abort()` and the runtime's end.
    allow(libc::SYS_rt_sigprocmask),
    // The runtime's end.
    allow(libc::SYS_sigaltstack),
    // `abort()` signals this process, and no other one.
    allow(libc::SYS_gettid),
    allow(libc::SYS_getpid),
    allow_if(libc::SYS_tgkill, 2, &[libc::SIGABRT as u64]).and_if(0, &[THIS_PROCESS]),
    // The proof that the filter is on.
    allow_if(libc::SYS_prctl, 0, &[libc::PR_GET_SECCOMP as u64]),
];

/// What locks ask of futex(2): waiting and waking, with these flags. Not the locks with priorities
/// (`FUTEX_*_PI`), which are the part of the call that kernels had holes in.
const LOCKS: &[u64] = &[
    WAIT,
    WAIT | PRIVATE,
    WAKE,
    WAKE | PRIVATE,
    WAIT_BITSET | PRIVATE,
    WAIT_BITSET | REALTIME,
    WAIT_BITSET | PRIVATE | REALTIME,
];
const WAIT: u64 = libc::FUTEX_WAIT as u64;
const WAKE: u64 = libc::FUTEX_WAKE as u64;
const WAIT_BITSET: u64 = libc::FUTEX_WAIT_BITSET as u64;
const PRIVATE: u64 = libc::FUTEX_PRIVATE_FLAG as u64;
const REALTIME: u64 = libc::FUTEX_CLOCK_REALTIME as u64;
