//! Syscall filters: a role's table of permitted calls, each with its reason, compiled and installed for all of
//! its threads. Any other call kills the process, and the monitor logs which signal it died of.

use nix::libc::{self, c_int};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

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
    /// The table does not compile.
    Table(seccompiler::BackendError),
    /// The kernel did not take the filter.
    Install(seccompiler::Error),
    /// It was taken, and the process is not in filter mode.
    Unproven,
}

impl std::fmt::Display for SeccompError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(error) => write!(out, "syscall filter's table: {error}"),
            Self::Install(error) => write!(out, "syscall filter: {error}"),
            Self::Unproven => out.write_str("the syscall filter was installed and is not on"),
        }
    }
}

impl std::error::Error for SeccompError {}

/// Installs `tables`, taken together, for all threads of this process, for good; and proves it.
pub fn install(tables: &[&[Rule]]) -> Result<(), SeccompError> {
    let program = compile(tables).map_err(SeccompError::Table)?;
    seccompiler::apply_filter_all_threads(&program).map_err(SeccompError::Install)?;
    // SAFETY: PR_GET_SECCOMP takes no arguments and touches no memory.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    if mode == c_int::try_from(libc::SECCOMP_MODE_FILTER).unwrap_or(-1) {
        Ok(())
    } else {
        Err(SeccompError::Unproven)
    }
}

fn compile(tables: &[&[Rule]]) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // To the compiler, a call with no conditions is permitted always: such a row must not gain another's.
    let always = |call| {
        tables
            .iter()
            .copied()
            .flatten()
            .any(|r: &Rule| r.call == call && r.when.is_none())
    };
    for rule in tables.iter().copied().flatten() {
        let conditions = calls.entry(rule.call).or_default();
        match rule.when {
            None => {}
            Some(_) if always(rule.call) => {}
            Some(When::Is { argument, values }) => {
                for value in values {
                    conditions.push(condition(argument, SeccompCmpOp::Eq, *value)?);
                }
            }
            Some(When::HasNone { argument, bits }) => {
                conditions.push(condition(argument, SeccompCmpOp::MaskedEq(bits), 0)?);
            }
        }
    }
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        calls,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )?
    .try_into()
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

#[cfg(test)]
mod tests;
