//! System call filters. Each process has a table of the calls that it may make. The table is compiled
//! and installed for all of its threads.
//!
//! Any other call kills the process. The monitor then logs the signal, SIGSYS.

use nix::errno::Errno;
use nix::libc::{self, c_int, sock_filter, sock_fprog};

/// A permitted system call. The comment above each row of a table says what the call is for.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    call: i64,
    condition: Option<Condition>,
}

/// A condition on one argument, counted from 0. Only the argument's lower 32 bits are compared.
#[derive(Debug, Clone, Copy)]
enum Condition {
    IsOneOf {
        argument: u8,
        values: &'static [u64],
    },
    HasNoneOf {
        argument: u8,
        bits: u64,
    },
}

/// Permits `call` with any arguments.
pub const fn allow(call: i64) -> Rule {
    let condition = None;
    Rule { call, condition }
}

/// Permits `call` if the argument with this number (from 0) is one of `values`.
pub const fn allow_if(call: i64, argument: u8, values: &'static [u64]) -> Rule {
    let condition = Some(Condition::IsOneOf { argument, values });
    Rule { call, condition }
}

/// Permits `call` if the argument with this number (from 0) has none of `bits`.
pub const fn allow_without(call: i64, argument: u8, bits: u64) -> Rule {
    let condition = Some(Condition::HasNoneOf { argument, bits });
    Rule { call, condition }
}

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
    // The allocator gives memory back.
    allow(libc::SYS_madvise),
    // The end of the process.
    allow(libc::SYS_exit_group),
    // A thread's end.
    allow(libc::SYS_exit),
    // Locks between threads, also those of the runtime.
    allow(libc::SYS_futex),
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
    // `abort()`.
    allow(libc::SYS_gettid),
    allow(libc::SYS_getpid),
    allow_if(libc::SYS_tgkill, 2, &[libc::SIGABRT as u64]),
    // The proof that the filter is on.
    allow_if(libc::SYS_prctl, 0, &[libc::PR_GET_SECCOMP as u64]),
];

/// Why the process has no filter.
#[derive(Debug)]
pub enum SeccompError {
    /// The kernel refused the filter.
    Install(Errno),
    /// This thread already has a filter of its own, so it cannot have the filter of all threads.
    OfOneThread(i64),
    /// The kernel took the filter, but the process is not in filter mode.
    Unproven,
}

impl std::fmt::Display for SeccompError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Install(error) => write!(out, "syscall filter: {error}"),
            Self::OfOneThread(thread) => {
                write!(out, "syscall filter: thread {thread} has another one")
            }
            Self::Unproven => out.write_str("the syscall filter was installed and is not on"),
        }
    }
}

impl std::error::Error for SeccompError {}

/// Installs one filter from all `tables`, for all threads of this process. It cannot be removed.
///
/// The process must have `no_new_privs` (see [`crate::confine::harden`]).
///
/// # Errors
///
/// The kernel refused the filter, or the filter is not in force. The process must not go on then.
pub fn install(tables: &[&[Rule]]) -> Result<(), SeccompError> {
    let mut program = compile(tables);
    let program = sock_fprog {
        // A longer program is none that the kernel takes.
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns.
    let answer = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    });
    match answer.map_err(SeccompError::Install)? {
        0 => {}
        thread => return Err(SeccompError::OfOneThread(thread)),
    }
    // SAFETY: PR_GET_SECCOMP takes no arguments and touches no memory.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if mode == c_int::try_from(libc::SECCOMP_MODE_FILTER).unwrap_or(-1) {
        Ok(())
    } else {
        Err(SeccompError::Unproven)
    }
}

/// Offsets in the kernel's `struct seccomp_data`, in bytes.
const CALL: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The machine's architecture: `AUDIT_ARCH_*` of linux/audit.h. Calls in the 32-bit mode have another
/// value there, and other call numbers.
#[cfg(target_arch = "x86_64")]
const OWN: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN: u32 = 0xc000_00b7;

/// Compiles the tables: one instruction for each permitted call, and a few for each condition.
///
/// The kernel runs a new filter once for each of its hundreds of calls, to find those that are always
/// permitted. So a short program is faster to install.
fn compile(tables: &[&[Rule]]) -> Vec<sock_filter> {
    let step = |code: u32, k: u32, when: [u8; 2]| sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: when[0],
        jf: when[1],
        k,
    };
    let load = |from: u32| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, [0, 0]);
    let give = |action: u32| step(libc::BPF_RET | libc::BPF_K, action, [0, 0]);
    let jump = |test: u32, k: u32, when| step(libc::BPF_JMP | test | libc::BPF_K, k, when);
    let (kill, allow) = (
        give(libc::SECCOMP_RET_KILL_PROCESS),
        give(libc::SECCOMP_RET_ALLOW),
    );
    let same = |k, when| jump(libc::BPF_JEQ, k, when);
    let mut program = vec![load(ARCHITECTURE), same(OWN, [1, 0]), kill, load(CALL)];
    for rule in tables.iter().copied().flatten() {
        // Every call's number fits. If one did not, its row would permit nothing.
        let call = u32::try_from(rule.call).unwrap_or(u32::MAX);
        let mut tests = Vec::new();
        match rule.condition {
            None => tests.push(allow),
            Some(Condition::IsOneOf { argument, values }) => {
                tests.push(load(ARGUMENTS + 8 * u32::from(argument)));
                for value in values {
                    tests.extend([same(low(*value), [0, 1]), allow]);
                }
                tests.push(load(CALL));
            }
            Some(Condition::HasNoneOf { argument, bits }) => tests.extend([
                load(ARGUMENTS + 8 * u32::from(argument)),
                jump(libc::BPF_JSET, low(bits), [1, 0]),
                allow,
                load(CALL),
            ]),
        }
        // A jump reaches 255 instructions. A longer row is left out, so it permits nothing.
        let Ok(length) = u8::try_from(tests.len()) else {
            continue;
        };
        program.push(same(call, [0, length]));
        program.extend(tests);
    }
    program.push(kill);
    program
}

/// The lower half of a value. Every value in the tables fits into it.
fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
