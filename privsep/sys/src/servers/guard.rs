//! A process with a guard. The guard ends the process and every process that it leaves behind.
//!
//! PAM's modules and an operator's programs can start processes that outlive them. The guard is the
//! parent of all of them: a process whose parent has ended becomes a child of the guard.

use crate::confine::{NotConfined, attempt};
use crate::server::{adopt_orphans, end_with_parent};
use crate::spawn::Child;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The time between two looks at processes that were killed and have not ended.
const LOOK: Duration = Duration::from_millis(2);

/// Which of the two processes goes on after [`split`].
#[derive(Debug)]
pub enum Half {
    /// The guard, with its child.
    Guard(Child),
    /// The process that is guarded. It ends when the guard ends.
    Guarded,
}

/// Makes this process the guard of a copy of itself. Both have the same rights, descriptors and
/// memory.
///
/// # Errors
///
/// A system call failed, or this process has more than one thread.
pub fn split() -> Result<Half, NotConfined> {
    adopt_orphans()?;
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(NotConfined::Unproven("one thread"));
    }
    let guard = nix::unistd::getpid();
    // SAFETY: this process has one thread. So no other thread holds a lock, and the child can go on
    // as its parent could.
    let pid = attempt("fork", Errno::result(unsafe { libc::fork() }))?;
    if pid == 0 {
        end_with_parent()?;
        // The guard may have ended before the line above.
        if nix::unistd::getppid() != guard {
            return Err(NotConfined::Unproven("a guard"));
        }
        return Ok(Half::Guarded);
    }
    // The child is not reaped, so no other process has its id.
    let pidfd = pidfd_of(pid).inspect_err(|_| {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    });
    Ok(Half::Guard(Child {
        pid: pid.unsigned_abs(),
        pidfd: attempt("pidfd_open", pidfd)?,
    }))
}

fn pidfd_of(pid: libc::pid_t) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let opened = RawFd::try_from(opened).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has made this descriptor in the call before. Nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Kills and reaps all descendants of this process. Returns false if some have not ended after
/// `within`.
pub fn end_descendants(within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        match reap() {
            Errno::ECHILD => return true,
            _ if Instant::now() >= until => return false,
            _ => {}
        }
        for pid in children() {
            // It is a child of this process and not reaped, so no other process has its id.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
}

/// Reaps all children that have ended. Returns `ECHILD` if no child is left, and `EAGAIN` if some
/// have not ended.
fn reap() -> Errno {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Errno::EAGAIN,
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return errno,
        }
    }
}

/// The children of this process, orphans included.
fn children() -> Vec<Pid> {
    let list = format!("/proc/self/task/{}/children", std::process::id());
    // A kernel without CONFIG_PROC_CHILDREN has no such file. Orphans then run to their own end.
    let list = std::fs::read_to_string(list).unwrap_or_default();
    let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}
