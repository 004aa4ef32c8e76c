//! Syscall filters: a role's table of permitted calls, each with its reason, compiled and installed for all of
//! its threads. Any other call kills the process, and the monitor logs which signal it died of.

use nix::libc::{self, c_int};
use seccompiler::{BpfProgram, sock_filter};

/// A permitted system call.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    call: i64,
    when: Option<When>,
    /// Why the role needs it.
    pub why: &'static str,
}

/// A condition on one argument, of which the lower 32 bits are compared.
#[derive(Debug, Clone, Copy)]
enum When {
    Is {
        argument: u8,
        values: &'static [u64],
    },
    HasNone {
        argument: u8,
        bits: u64,
    },
}

/// Permits `call` with whatever arguments.
pub const fn allow(call: i64, why: &'static str) -> Rule {
    Rule {
        call,
        when: None,
        why,
    }
}

/// Permits `call` where its argument of that number (from 0) is one of `values`.
pub const fn allow_if(call: i64, argument: u8, values: &'static [u64], why: &'static str) -> Rule {
    Rule {
        call,
        when: Some(When::Is { argument, values }),
        why,
    }
}

/// Permits `call` where its argument of that number (from 0) has none of `bits`.
pub const fn allow_without(call: i64, argument: u8, bits: u64, why: &'static str) -> Rule {
    Rule {
        call,
        when: Some(When::HasNone { argument, bits }),
        why,
    }
}

/// What every Rust program calls, whatever its role: memory, its end, its own filter's proof.
pub const RUNTIME: &[Rule] = &[
    allow(libc::SYS_brk, "the allocator"),
    allow_without(
        libc::SYS_mmap,
        2,
        libc::PROT_EXEC as u64,
        "the allocator; never code",
    ),
    allow_without(
        libc::SYS_mprotect,
        2,
        libc::PROT_EXEC as u64,
        "the allocator; never code",
    ),
    allow(libc::SYS_munmap, "the allocator"),
    allow(libc::SYS_mremap, "the allocator, for large vectors"),
    allow(libc::SYS_madvise, "the allocator gives memory back"),
    allow(libc::SYS_exit_group, "the end"),
    allow(libc::SYS_exit, "a thread's end"),
    allow(
        libc::SYS_futex,
        "locks between threads, and the runtime's own",
    ),
    allow(
        libc::SYS_clock_gettime,
        "the time, where the vDSO has to ask the kernel",
    ),
    allow(libc::SYS_restart_syscall, "the kernel's, after a stop"),
    allow(libc::SYS_rt_sigreturn, "the way back from a signal handler"),
    allow(libc::SYS_rt_sigprocmask, "abort() and the runtime's end"),
    allow(libc::SYS_sigaltstack, "the runtime's end"),
    allow(libc::SYS_gettid, "abort()"),
    allow(libc::SYS_getpid, "abort()"),
    allow_if(libc::SYS_tgkill, 2, &[libc::SIGABRT as u64], "abort()"),
    allow_if(
        libc::SYS_prctl,
        0,
        &[libc::PR_GET_SECCOMP as u64],
        "the proof that the filter is on",
    ),
];

/// Why no filter was installed.
#[derive(Debug)]
pub enum SeccompError {
    /// The kernel did not take the filter.
    Install(seccompiler::Error),
    /// It was taken, and the process is not in filter mode.
    Unproven,
}

impl std::fmt::Display for SeccompError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Install(error) => write!(out, "syscall filter: {error}"),
            Self::Unproven => out.write_str("the syscall filter was installed and is not on"),
        }
    }
}

impl std::error::Error for SeccompError {}

/// Installs `tables`, taken together, for all threads of this process, for good; and proves it.
pub fn install(tables: &[&[Rule]]) -> Result<(), SeccompError> {
    seccompiler::apply_filter_all_threads(&compile(tables)).map_err(SeccompError::Install)?;
    // SAFETY: PR_GET_SECCOMP takes no arguments and touches no memory.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if mode == c_int::try_from(libc::SECCOMP_MODE_FILTER).unwrap_or(-1) {
        Ok(())
    } else {
        Err(SeccompError::Unproven)
    }
}

/// Where the kernel's `struct seccomp_data` has what a program loads.
const CALL: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The machine's own calls, `AUDIT_ARCH_*` of linux/audit.h; those for 32 bits have other numbers.
#[cfg(target_arch = "x86_64")]
const OWN: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN: u32 = 0xc000_00b7;

/// One instruction a permitted call, and a few for a condition. The kernel runs a new filter once for each of its
/// hundreds of calls, to know which it need not ask about, so a short program is what makes installing it cheap.
fn compile(tables: &[&[Rule]]) -> BpfProgram {
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
    let mut program = vec![
        load(ARCHITECTURE),
        same(OWN, [1, 0]),
        kill.clone(),
        load(CALL),
    ];
    for rule in tables.iter().copied().flatten() {
        // No call has a number that does not fit; should one, the row permits nothing.
        let call = u32::try_from(rule.call).unwrap_or(u32::MAX);
        let mut tests = Vec::new();
        match rule.when {
            None => tests.push(allow.clone()),
            Some(When::Is { argument, values }) => {
                tests.push(load(ARGUMENTS + 8 * u32::from(argument)));
                for value in values {
                    tests.extend([same(low(*value), [0, 1]), allow.clone()]);
                }
                tests.push(load(CALL));
            }
            Some(When::HasNone { argument, bits }) => tests.extend([
                load(ARGUMENTS + 8 * u32::from(argument)),
                jump(libc::BPF_JSET, low(bits), [1, 0]),
                allow.clone(),
                load(CALL),
            ]),
        }
        // A row that is too long to jump over would permit nothing.
        let Ok(length) = u8::try_from(tests.len()) else {
            continue;
        };
        program.push(same(call, [0, length]));
        program.extend(tests);
    }
    program.push(kill);
    program
}

/// What is compared of a value: its lower half, which is all of it for every argument in the tables.
fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
