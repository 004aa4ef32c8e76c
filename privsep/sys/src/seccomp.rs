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

/// A row of a table: a permitted system call. The comment above a row says what the call is for.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    call: u32,
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
///
/// # Panics
///
/// `call` is no number of a call. In the constant tables, a panic is an error of the compiler.
pub const fn allow(call: i64) -> Rule {
    assert!(call >> 32 == 0, "no number of a call");
    let (call, conditions) = (low(call.unsigned_abs()), [None; CONDITIONS_MAX]);
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
    install_program(compile(tables, &[], &[KILL]))
}

/// Takes the calls of `lost` from a process whose filter is of `kept` and `lost`. It keeps what
/// `kept` permits.
///
/// All filters of a process hold. So this one has only the rows of the calls that it takes, and is
/// faster to install than one of all rows of `kept`.
///
/// # Errors
///
/// As [`install`].
pub fn reduce(kept: &[&[Rule]], lost: &[Rule]) -> Result<(), NotConfined> {
    install_program(reduction(kept, lost))
}

fn reduction(kept: &[&[Rule]], lost: &[Rule]) -> Vec<sock_filter> {
    let mut exceptions = kept.concat();
    exceptions.retain(|rule| lost.iter().any(|other| other.call == rule.call));
    compile(&[&exceptions], lost, &[ALLOW])
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

/// A call, and what permits it. `None`: nothing does.
type Row<'a> = (u32, Option<&'a Rule>);

/// Compiles the tables. Calls of `lost` are forbidden, unless a row of `tables` permits them. With
/// any other call the program goes on with `otherwise`.
fn compile(tables: &[&[Rule]], lost: &[Rule], otherwise: &[sock_filter]) -> Vec<sock_filter> {
    let rules = tables.iter().copied().flatten();
    let mut rows: Vec<Row<'_>> = rules.map(|rule| (rule.call, Some(rule))).collect();
    rows.extend(lost.iter().map(|rule| (rule.call, None)));
    // Rows of the same call stay in their order.
    rows.sort_by_key(|(call, _)| *call);
    // A jump goes forward by a number of instructions. So the program is made from its end.
    let mut program = Vec::with_capacity(256);
    search(&rows, otherwise, &mut program);
    program.extend([load(CALL), KILL, same(OWN, [1, 0]), load(ARCHITECTURE)]);
    program.reverse();
    program
}

/// Finds the rows of a call by halves.
///
/// The kernel runs a new filter once for each of its hundreds of calls, to find those that are
/// always permitted. So a filter that finds a call in few steps is faster to install.
fn search(rows: &[Row<'_>], otherwise: &[sock_filter], program: &mut Vec<sock_filter>) {
    let middle = rows.get(rows.len() / 2).map_or(0, |(call, _)| *call);
    let (low, high) = rows.split_at(rows.partition_point(|(call, _)| *call < middle));
    if low.is_empty() || rows.len() < ROWS_MIN {
        program.extend(otherwise.iter().rev());
        return rows.iter().rev().for_each(|row| decide(*row, program));
    }
    search(high, otherwise, program);
    let behind = program.len();
    search(low, otherwise, program);
    // A jump with a condition reaches 255 instructions only. No program is longer than u32.
    let over = u32::try_from(program.len() - behind).unwrap_or(u32::MAX);
    program.push(step(libc::BPF_JMP | libc::BPF_JA, over, [0, 0]));
    program.push(jump(libc::BPF_JGE, middle, [0, 1]));
}

/// Fewer rows than this are not halved.
const ROWS_MIN: usize = 6;

/// The instructions for one row. They go on behind them if it is another call, or if one of the
/// conditions does not hold.
fn decide((call, rule): Row<'_>, program: &mut Vec<sock_filter>) {
    let behind = program.len();
    let conditions = rule.iter().flat_map(|rule| &rule.conditions).flatten();
    // A condition has loaded an argument, and the next row compares the call's number.
    program.extend(conditions.clone().take(1).map(|_| load(CALL)));
    let failed = program.len();
    program.push(rule.map_or(KILL, |_| ALLOW));
    for condition in conditions.rev() {
        // If the number is too large for a jump, the row is left out below.
        let rest = u8::try_from(program.len() - failed).unwrap_or(0);
        for (later, value) in (0..).zip(condition.values.iter().rev()) {
            let not = if later == 0 { rest } else { 0 };
            let value = match *value {
                THIS_PROCESS => std::process::id(),
                value => low(value),
            };
            program.push(same(value, [later, not]));
        }
        let mask = step(libc::BPF_ALU | libc::BPF_AND, condition.bits, [0, 0]);
        program.extend((condition.bits != u32::MAX).then_some(mask));
        // Both architectures put the lower half of an argument first.
        program.push(load(ARGUMENTS + 4 * u32::from(condition.half)));
    }
    match u8::try_from(program.len() - behind) {
        Ok(over) => program.push(same(call, [0, over])),
        // A row whose tests are too many for a jump is left out, so it permits nothing.
        Err(_) => program.truncate(behind),
    }
}

const fn step(code: u32, k: u32, when: [u8; 2]) -> sock_filter {
    sock_filter {
        // Every code is below 256.
        code: (code & 0xff) as u16,
        jt: when[0],
        jf: when[1],
        k,
    }
}

fn load(from: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, [0, 0])
}

const KILL: sock_filter = give(libc::SECCOMP_RET_KILL_PROCESS);
const ALLOW: sock_filter = give(libc::SECCOMP_RET_ALLOW);

const fn give(action: u32) -> sock_filter {
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
