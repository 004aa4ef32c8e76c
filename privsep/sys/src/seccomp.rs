//! System call filters. Each process has a table of the calls that it may make. The table is
//! compiled and installed for all of its threads.
//!
//! Any other call kills the process. The monitor then logs the signal, SIGSYS.
//!
//! A process that runs other people's code, or starts processes that do, cannot have such a table.
//! It has a list of calls that fail instead: see [`denials`].

#[cfg(feature = "server")]
pub mod denials;

use nix::errno::Errno;
use nix::libc::{self, c_int, sock_filter, sock_fprog};

/// A permitted system call. The comment above each row of a table says what the call is for.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    call: i64,
    /// All of these must hold.
    conditions: [Option<Condition>; CONDITIONS_MAX],
}

/// Most conditions of a rule.
pub const CONDITIONS_MAX: usize = 3;

/// A condition on the argument with this number, counted from 0. Only the argument's lower 32 bits
/// are compared, unless it is a pointer: the kernel reads no more of flags, commands and
/// descriptors.
type Condition = (u8, Test);

#[derive(Debug, Clone, Copy)]
enum Test {
    IsOneOf(&'static [u64]),
    HasNoneOf(u64),
    IsNull,
    IsThisProcess,
}

/// Permits `call` with any arguments.
pub const fn allow(call: i64) -> Rule {
    let conditions = [None; CONDITIONS_MAX];
    Rule { call, conditions }
}

/// Permits `call` if the argument with this number (from 0) is one of `values`.
pub const fn allow_if(call: i64, argument: u8, values: &'static [u64]) -> Rule {
    allow(call).and_if(argument, values)
}

/// Permits `call` if the argument with this number (from 0) has none of `bits`.
pub const fn allow_without(call: i64, argument: u8, bits: u64) -> Rule {
    allow(call).and_without(argument, bits)
}

impl Rule {
    /// Permits the call only if the argument with this number (from 0) is one of `values`, too.
    ///
    /// # Panics
    ///
    /// The rule has [`CONDITIONS_MAX`] conditions already, or `values` is empty. In the constant
    /// tables, a panic is an error of the compiler.
    #[must_use]
    pub const fn and_if(self, argument: u8, values: &'static [u64]) -> Self {
        assert!(!values.is_empty(), "a rule that permits nothing");
        self.and((argument, Test::IsOneOf(values)))
    }

    /// Permits the call only if the argument with this number (from 0) has none of `bits`, too.
    ///
    /// # Panics
    ///
    /// The rule has [`CONDITIONS_MAX`] conditions already.
    #[must_use]
    pub const fn and_without(self, argument: u8, bits: u64) -> Self {
        self.and((argument, Test::HasNoneOf(bits)))
    }

    /// Permits the call only if the argument with this number (from 0), a pointer, is null, too.
    ///
    /// # Panics
    ///
    /// The rule has [`CONDITIONS_MAX`] conditions already.
    #[must_use]
    pub const fn and_null(self, argument: u8) -> Self {
        self.and((argument, Test::IsNull))
    }

    /// Permits the call only if the argument with this number (from 0) is the id of the process
    /// that installs the filter, too.
    ///
    /// # Panics
    ///
    /// The rule has [`CONDITIONS_MAX`] conditions already.
    #[must_use]
    pub const fn and_this_process(self, argument: u8) -> Self {
        self.and((argument, Test::IsThisProcess))
    }

    const fn and(mut self, condition: Condition) -> Self {
        let mut place = 0;
        while self.conditions[place].is_some() {
            place += 1;
        }
        self.conditions[place] = Some(condition);
        self
    }
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
    allow_if(libc::SYS_tgkill, 2, &[libc::SIGABRT as u64]).and_this_process(0),
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
    install_program(compile(tables, &[give(libc::SECCOMP_RET_KILL_PROCESS)]))
}

/// Installs a program of the kernel's filter machine for all threads.
fn install_program(mut program: Vec<sock_filter>) -> Result<(), SeccompError> {
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

/// The machine's architecture: `AUDIT_ARCH_*` of linux/audit.h. Calls in the 32-bit mode have
/// another value there, and other call numbers.
#[cfg(target_arch = "x86_64")]
const OWN: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN: u32 = 0xc000_00b7;

/// Compiles the tables: one instruction for each permitted call, and a few for each condition. With
/// any other call the program goes on with `otherwise`.
///
/// The kernel runs a new filter once for each of its hundreds of calls, to find those that are
/// always permitted. So a short program is faster to install.
fn compile(tables: &[&[Rule]], otherwise: &[sock_filter]) -> Vec<sock_filter> {
    let kill = give(libc::SECCOMP_RET_KILL_PROCESS);
    let mut program = vec![load(ARCHITECTURE), same(OWN, [1, 0]), kill, load(CALL)];
    for rule in tables.iter().copied().flatten() {
        let tests = permission(rule);
        // A jump reaches 255 instructions. A longer row is left out, so it permits nothing.
        let length = tests.as_ref().and_then(|tests| tests.len().try_into().ok());
        let (Some(tests), Some(length)) = (tests, length) else {
            continue;
        };
        // Every call's number fits. If one did not, its row would permit nothing.
        let call = u32::try_from(rule.call).unwrap_or(u32::MAX);
        program.push(same(call, [0, length]));
        program.extend(tests);
    }
    program.extend(otherwise);
    program
}

/// The instructions that permit the call of `rule` if all conditions hold, and go on behind them if
/// one does not. `None`: they are too many for a jump.
fn permission(rule: &Rule) -> Option<Vec<sock_filter>> {
    let mut tests = vec![give(libc::SECCOMP_RET_ALLOW)];
    let conditions = rule.conditions.iter().flatten();
    // The last condition comes first, because each one jumps over all that follow it.
    for (argument, test) in conditions.clone().rev() {
        let rest = u8::try_from(tests.len()).ok()?;
        let at = lower_half(*argument);
        let mut test = match test {
            Test::IsOneOf(values) => one_of(at, values, rest)?,
            Test::IsThisProcess => one_of(at, &[std::process::id().into()], rest)?,
            Test::HasNoneOf(bits) => {
                vec![load(at), jump(libc::BPF_JSET, low(*bits), [rest, 0])]
            }
            Test::IsNull => {
                let mut halves = one_of(at, &[0], rest.checked_add(2)?)?;
                halves.append(&mut one_of(at + 4, &[0], rest)?);
                halves
            }
        };
        test.append(&mut tests);
        tests = test;
    }
    if conditions.count() > 0 {
        tests.push(load(CALL));
    }
    Some(tests)
}

/// Goes on if what is at `at` is one of `values`, and behind the next `rest` instructions if not.
fn one_of(at: u32, values: &[u64], rest: u8) -> Option<Vec<sock_filter>> {
    let mut test = vec![load(at)];
    for (place, value) in values.iter().enumerate() {
        let later = u8::try_from(values.len() - 1 - place).ok()?;
        let not = if later == 0 { rest } else { 0 };
        test.push(same(low(*value), [later, not]));
    }
    Some(test)
}

/// Where the lower half of an argument is. Both architectures put it first.
fn lower_half(argument: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(argument)
}

fn step(code: u32, k: u32, when: [u8; 2]) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: when[0],
        jf: when[1],
        k,
    }
}

fn load(from: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, [0, 0])
}

fn give(action: u32) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, action, [0, 0])
}

/// Compares what was loaded with `k`. Jumps over `when[0]` instructions if so, `when[1]` if not.
fn jump(test: u32, k: u32, when: [u8; 2]) -> sock_filter {
    step(libc::BPF_JMP | test | libc::BPF_K, k, when)
}

fn same(k: u32, when: [u8; 2]) -> sock_filter {
    jump(libc::BPF_JEQ, k, when)
}

/// The lower half of a value. Every value in the tables fits into it.
fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
