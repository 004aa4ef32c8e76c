//! System call filters. Each process has a table of the calls that it may make. The table is
//! compiled and installed for all of its threads.
//!
//! Any other call kills the process. The monitor then logs the signal, SIGSYS.
//!
//! A process that runs other people's code, or starts processes that do, cannot have such a table.
//! It has a list of calls that fail instead: see [`denials`].

#[cfg(feature = "server")]
pub mod denials;
mod runtime;

use crate::confine::{NotConfined, attempt};
use nix::errno::Errno;
use nix::libc::{self, c_int, sock_filter, sock_fprog};
pub use runtime::RUNTIME;

/// A permitted system call. The comment above each row of a table says what the call is for.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    call: i64,
    /// All of these must hold.
    conditions: [Option<Condition>; CONDITIONS_MAX],
}

/// Most conditions of a rule.
pub const CONDITIONS_MAX: usize = 3;

/// A condition on one half of an argument. Only the lower half of flags, commands and descriptors is
/// compared: the kernel reads no more of them.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// The number of the half: 0 is the lower half of the first argument.
    half: u8,
    /// The bits that count.
    bits: u32,
    /// What these bits may be.
    values: &'static [u64],
}

/// In the values of a rule: the id of the process that installs the filter.
const THIS_PROCESS: u64 = u64::MAX;

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
    allow(call).and(2 * argument, low(bits), &[0])
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
        self.and(2 * argument, u32::MAX, values)
    }

    const fn and(mut self, half: u8, bits: u32, values: &'static [u64]) -> Self {
        let mut place = 0;
        while self.conditions[place].is_some() {
            place += 1;
        }
        self.conditions[place] = Some(Condition { half, bits, values });
        self
    }
}

/// Installs one filter from all `tables`, for all threads of this process. It cannot be removed.
///
/// The process must have `no_new_privs` (see [`crate::confine::harden`]).
///
/// # Errors
///
/// The kernel refused the filter, or the filter is not in force. The process must not go on then.
pub fn install(tables: &[&[Rule]]) -> Result<(), NotConfined> {
    install_program(compile(tables, &[give(libc::SECCOMP_RET_KILL_PROCESS)]))
}

/// Installs a program of the kernel's filter machine for all threads.
fn install_program(mut program: Vec<sock_filter>) -> Result<(), NotConfined> {
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
    // Another answer than 0 is the number of a thread with a filter of its own.
    let other_thread = attempt("syscall filter", answer)? != 0;
    // SAFETY: PR_GET_SECCOMP takes no arguments and touches no memory.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if other_thread || c_int::try_from(libc::SECCOMP_MODE_FILTER) != Ok(mode) {
        return Err(NotConfined::Unproven("the syscall filter is not on"));
    }
    Ok(())
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

/// Compiles the tables. With a call that no row permits, the program goes on with `otherwise`.
fn compile(tables: &[&[Rule]], otherwise: &[sock_filter]) -> Vec<sock_filter> {
    let kill = give(libc::SECCOMP_RET_KILL_PROCESS);
    let mut program = vec![load(ARCHITECTURE), same(OWN, [1, 0]), kill, load(CALL)];
    // A row whose tests are too many for a jump is left out, so it permits nothing.
    let mut rows: Vec<_> = tables.iter().copied().flatten().filter_map(row).collect();
    // Rows of the same call stay in their order.
    rows.sort_by_key(|(call, _)| *call);
    program.extend(search(&rows, otherwise));
    program
}

/// A call, and the instructions that permit it under conditions.
type Row = (u32, Vec<sock_filter>);

/// Finds the rows of a call by halves.
///
/// The kernel runs a new filter once for each of its hundreds of calls, to find those that are
/// always permitted. So a filter that finds a call in few steps is faster to install.
fn search(rows: &[Row], otherwise: &[sock_filter]) -> Vec<sock_filter> {
    let middle = rows.get(rows.len() / 2).map_or(0, |(call, _)| *call);
    let (low, high) = rows.split_at(rows.partition_point(|(call, _)| *call < middle));
    if low.is_empty() || rows.len() < ROWS_MIN {
        let tests = rows.iter().flat_map(|(_, tests)| tests);
        return tests.chain(otherwise).copied().collect();
    }
    let low = search(low, otherwise);
    // A jump with a condition reaches 255 instructions only. No program is longer than u32.
    let over = u32::try_from(low.len()).unwrap_or(u32::MAX);
    let mut program = vec![
        jump(libc::BPF_JGE, middle, [0, 1]),
        step(libc::BPF_JMP | libc::BPF_JA, over, [0, 0]),
    ];
    program.extend(low);
    program.extend(search(high, otherwise));
    program
}

/// Fewer rows than this are not halved.
const ROWS_MIN: usize = 6;

/// The instructions for one rule. They go on behind them if the call is not permitted by it.
fn row(rule: &Rule) -> Option<Row> {
    let tests = permission(rule)?;
    // Every call's number fits. If one did not, its row would permit nothing.
    let call = u32::try_from(rule.call).unwrap_or(u32::MAX);
    let is = same(call, [0, tests.len().try_into().ok()?]);
    Some((call, [&[is], &tests[..]].concat()))
}

/// The instructions that permit the call of `rule` if all conditions hold, and go on behind them if
/// one does not. `None`: they are too many for a jump.
fn permission(rule: &Rule) -> Option<Vec<sock_filter>> {
    let mut tests = vec![give(libc::SECCOMP_RET_ALLOW)];
    let conditions = rule.conditions.iter().flatten();
    // The last condition comes first, because each one jumps over all that follow it.
    for condition in conditions.clone().rev() {
        let mut test = one_of(condition, u8::try_from(tests.len()).ok()?)?;
        test.append(&mut tests);
        tests = test;
    }
    if conditions.count() > 0 {
        tests.push(load(CALL));
    }
    Some(tests)
}

/// Goes on if the condition holds, and behind the next `rest` instructions if not.
fn one_of(condition: &Condition, rest: u8) -> Option<Vec<sock_filter>> {
    // Both architectures put the lower half of an argument first.
    let mut test = vec![load(ARGUMENTS + 4 * u32::from(condition.half))];
    if condition.bits != u32::MAX {
        test.push(step(libc::BPF_ALU | libc::BPF_AND, condition.bits, [0, 0]));
    }
    for (place, value) in condition.values.iter().enumerate() {
        let later = u8::try_from(condition.values.len() - 1 - place).ok()?;
        let not = if later == 0 { rest } else { 0 };
        let value = match *value {
            THIS_PROCESS => std::process::id(),
            value => low(value),
        };
        test.push(same(value, [later, not]));
    }
    Some(test)
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
const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
