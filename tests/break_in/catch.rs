//! Catches a process that lives for milliseconds, at a moment of its life: traces its parent until
//! the parent starts it, and then the process from system call to system call.

use super::inject::wait;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;

/// The moment at which a process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has its user's ids, and is still its parent's program.
    Identity,
    /// The kernel has loaded its program. No instruction of it has run.
    Exec,
    /// It has its filter of system calls.
    Filter,
}

/// Waits until the process `parent` starts `executable`, stops the new process at each of
/// `moments`, in this order, and calls `look`. Then the process goes on. `trigger` is what makes
/// the parent start it.
pub fn catch(
    parent: i32,
    executable: &str,
    moments: &[Moment],
    trigger: impl FnOnce(),
    mut look: impl FnMut(Moment, Pid),
) -> Result<(), Errno> {
    let parent = Pid::from_raw(parent);
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACESYSGOOD;
    ptrace::seize(parent, options)?;
    trigger();
    let mut moments = moments.iter();
    let mut next = moments.next();
    let mut children = BTreeSet::new();
    while let Some(moment) = next {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))?;
        let pid = status.pid().unwrap();
        if pid == parent {
            let signal = match status {
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            ptrace::cont(parent, signal)?;
            continue;
        }
        match status {
            WaitStatus::PtraceSyscall(_) if children.contains(&pid) => {
                // Only this one can have the moment that is waited for.
                if is_at(pid, *moment, executable) {
                    look(*moment, pid);
                    ptrace::setoptions(pid, options)?;
                    next = moments.next();
                }
                ptrace::syscall(pid, None)?;
            }
            WaitStatus::PtraceEvent(..) | WaitStatus::PtraceSyscall(_) => {
                children.insert(pid);
                ptrace::syscall(pid, None)?;
            }
            WaitStatus::Stopped(_, signal) => ptrace::syscall(pid, signal)?,
            _ => {
                children.remove(&pid);
            }
        }
    }
    for pid in children.into_iter().chain([parent]) {
        release(pid)?;
    }
    Ok(())
}

/// Stops a traced process, and lets it go on untraced.
fn release(pid: Pid) -> Result<(), Errno> {
    match ptrace::interrupt(pid) {
        // It has ended.
        Err(Errno::ESRCH) => return Ok(()),
        result => result?,
    }
    let mut signal = None;
    loop {
        match wait(pid) {
            WaitStatus::PtraceEvent(_, Signal::SIGTRAP, libc::PTRACE_EVENT_STOP) => break,
            WaitStatus::Stopped(_, other) => signal = Some(other),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(()),
            _ => {}
        }
        ptrace::cont(pid, None)?;
    }
    ptrace::detach(pid, signal)
}

/// Whether a process that has stopped at a system call is at this moment.
fn is_at(pid: Pid, moment: Moment, executable: &str) -> bool {
    let Ok(registers) = ptrace::getregs(pid) else {
        return false;
    };
    // At the beginning of a call this register has ENOSYS. All calls here return 0.
    let returned = |call: libc::c_long| registers.orig_rax == call as u64 && registers.rax == 0;
    let name = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let runs = || name().split('\0').next() == Some(executable);
    match moment {
        Moment::Identity => returned(libc::SYS_setresuid),
        Moment::Exec => returned(libc::SYS_execve) && runs(),
        Moment::Filter => returned(libc::SYS_seccomp) && runs(),
    }
}
