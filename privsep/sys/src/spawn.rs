//! Starting another executable as somebody else, with exactly the descriptors that it is given.
//!
//! `clone` with `CLONE_VM`: no page tables are copied, so it costs the monitor the same however large it is; it waits until the
//! exec. The child runs on a stack of its own and only makes system calls on what was prepared before: no allocation, no
//! lock, no panic.
//!
//! Not `CLONE_VFORK`, whose wait has no end: from the moment that the child has its user's ids, that user can stop it.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_char, c_int, c_long, c_void};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Who the new process is. Without one it stays who its parent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildIdentity {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id, and by the exec the saved one: `gid`, or a group that the process gives up for good, which
    /// takes no privilege.
    pub effective_gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether it keeps `CAP_SYS_CHROOT`, and nothing else, to empty its root with.
    pub keep_chroot: bool,
}

/// What is started.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The executable.
    pub executable: &'a Path,
    /// Its `argv`, which has nothing secret in it.
    pub arguments: &'a [&'a str],
    /// For 0, 1 and 2: the null device.
    pub null: BorrowedFd<'a>,
    /// For 3 and on.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Its working directory.
    pub directory: BorrowedFd<'a>,
    /// Who it becomes before the exec, so that none of its instructions runs as its parent.
    pub identity: Option<&'a ChildIdentity>,
}

/// A process that was started.
#[derive(Debug)]
pub struct Child {
    /// Its id, for logs and locks. Only valid until it is reaped.
    pub pid: u32,
    /// Its pidfd: readable when it has ended; `waitid` and signals by it reach nobody else.
    pub pidfd: OwnedFd,
}

/// What a child never hears, as the kernel counts signals: SIGHUP, SIGINT and SIGTERM. When it is to end, its parent closes
/// its channel or kills it; a `killall`, or a service manager that tells all processes at once, must not end an update.
static LEFT_TO_THE_PARENT: u64 =
    1 << (libc::SIGHUP - 1) | 1 << (libc::SIGINT - 1) | 1 << (libc::SIGTERM - 1);

/// The bytes of stack that the child has: it calls nothing but the kernel.
const STACK: usize = 64 * 1024;

/// How long a child may take to its exec, on a busy host with a slow disk: so many looks, so many milliseconds apart.
const LOOKS: (u16, u16) = (200, 50);

/// Reused for one spawn after another; the parent waits for the exec, so one is enough.
#[derive(Debug)]
pub struct Spawner {
    stack: Box<[u128]>,
}

impl Default for Spawner {
    fn default() -> Self {
        Self {
            stack: vec![0; STACK / size_of::<u128>()].into_boxed_slice(),
        }
    }
}

/// What the child works from, all of it made before. `failed` is what it writes.
struct Plan {
    executable: CString,
    arguments: Vec<*const c_char>,
    environment: [*const c_char; 1],
    /// The last one is closed by the exec, or by the end: so its other end shows either.
    descriptors: Vec<RawFd>,
    moved: Vec<RawFd>,
    directory: RawFd,
    identity: Option<ChildIdentity>,
    failed: c_long,
}

impl Spawner {
    /// Starts `spawn`. The error is the first system call's that failed in the child, `execve` included; `EAGAIN` where somebody
    /// has stopped it.
    pub fn spawn(&mut self, spawn: &Spawn<'_>) -> Result<Child, Errno> {
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
        let arguments = spawn
            .arguments
            .iter()
            .map(|argument| c_string(argument.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut descriptors = vec![spawn.null.as_raw_fd(); 3];
        descriptors.extend(spawn.descriptors.iter().map(AsRawFd::as_raw_fd));
        let (exec, open) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        descriptors.push(open.as_raw_fd());
        let mut plan = Plan {
            executable: c_string(spawn.executable.as_os_str().as_bytes())?,
            arguments: arguments
                .iter()
                .map(|a| a.as_ptr())
                .chain([std::ptr::null()])
                .collect(),
            environment: [std::ptr::null()],
            moved: vec![0; descriptors.len()],
            descriptors,
            directory: spawn.directory.as_raw_fd(),
            identity: spawn.identity.cloned(),
            failed: 0,
        };
        // A signal handler must not run on the child's stack in the parent's memory.
        let mut before = SigSet::empty();
        sigprocmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        let started = self.clone(&mut plan);
        drop(open);
        let in_time = started.is_err() || await_exec(&started, &exec);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        let child = started?;
        // SAFETY: it is alive, and its other user has ended or has memory of its own; the compiler knows of neither.
        let failed = unsafe { std::ptr::read_volatile(&raw const plan.failed) };
        if failed != 0 || !in_time {
            // It never became anybody: it ended at once, and nobody else will wait for it.
            reap(&child)?;
            let failed = if in_time { failed } else { libc::EAGAIN.into() };
            return Err(Errno::from_raw(i32::try_from(failed).unwrap_or(libc::EIO)));
        }
        Ok(child)
    }

    fn clone(&mut self, plan: &mut Plan) -> Result<Child, Errno> {
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
        let top = self.stack.as_mut_ptr_range().end.cast::<c_void>();
        // SAFETY: `top` is the aligned end of a stack that this object owns and nobody else uses meanwhile; the
        // caller waits (`await_exec`) until the child has exec'd or ended, so `plan` outlives its use and is
        // not touched from two sides; `child` makes only system calls.
        let pid = Errno::result(unsafe {
            libc::clone(child, top, flags, (&raw mut *plan).cast(), &raw mut pidfd)
        })?;
        // SAFETY: CLONE_PIDFD made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Child {
            pid: pid.unsigned_abs(),
            pidfd,
        })
    }
}

/// Waits until a child has exec'd, or ended. Returns false where that took too long and it was killed.
fn await_exec(child: &Result<Child, Errno>, exec: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let Ok(child) = child else {
        return true;
    };
    let closed = |patience: PollTimeout| {
        let mut ready = [PollFd::new(exec.as_fd(), PollFlags::empty())];
        // All signals are blocked: nothing interrupts it.
        poll(&mut ready, patience).is_ok_and(|count| count > 0)
    };
    for _ in 0..LOOKS.0 {
        if closed(LOOKS.1.into()) {
            return true;
        }
        let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        let state = waitid(Id::PIDFd(child.pidfd.as_fd()), stopped);
        if !matches!(state, Ok(WaitStatus::StillAlive)) {
            break;
        }
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.pid).unwrap_or(i32::MAX));
    // It is our child and not reaped, so its id is its own. Until it has gone, what it works on must stay.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    while !closed(PollTimeout::NONE) {}
    false
}

/// Waits for a child that is known to have ended.
fn reap(child: &Child) -> nix::Result<()> {
    waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED).map(drop)
}

/// The child's whole life before the exec.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `clone` was given this pointer to a live `Plan`, and its owner waits meanwhile.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: system calls on what `plan` holds: strings that end in NUL, arrays that end in null, and lists with
    // their lengths, all alive until the exec.
    unsafe {
        let failed = prepare(plan).err().unwrap_or_else(|| exec(plan));
        std::ptr::write_volatile(&raw mut plan.failed, failed);
    }
    127
}

/// A raw system call, for its error number. Not glibc's wrapper: that of the set-id calls would signal the threads
/// that it believes to share this memory.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        // The kernel takes machine words, whatever the types of the arguments.
        #[allow(clippy::cast_lossless, clippy::cast_possible_wrap)]
        if libc::syscall($number $(, $argument as c_long)*) < 0 {
            return Err(c_long::from(*libc::__errno_location()));
        }
    };
}

/// # Safety
///
/// To be called in the child only, with a plan whose pointers are valid.
unsafe fn prepare(plan: &mut Plan) -> Result<(), c_long> {
    // SAFETY: see `child`.
    unsafe {
        let count = c_long::try_from(plan.descriptors.len()).unwrap_or(c_long::MAX);
        // First out of the way of all targets, then each to its place: a source may be another one's target.
        for (source, moved) in plan.descriptors.iter().zip(plan.moved.iter_mut()) {
            let copy = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, plan.descriptors.len());
            if copy < 0 {
                return Err(c_long::from(*libc::__errno_location()));
            }
            *moved = copy;
        }
        call!(libc::SYS_fchdir, plan.directory);
        for (target, moved) in plan.moved.iter().enumerate() {
            let last = target + 1 == plan.moved.len();
            let flags = if last { libc::O_CLOEXEC } else { 0 };
            call!(libc::SYS_dup3, *moved, target, flags);
        }
        call!(libc::SYS_close_range, count, libc::c_uint::MAX, 0);
        call!(libc::SYS_setsid);
        call!(libc::SYS_umask, 0o077);
        if let Some(identity) = &plan.identity {
            take_identity(identity)?;
        }
        call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const LEFT_TO_THE_PARENT,
            0,
            size_of::<u64>()
        );
    }
    Ok(())
}

/// # Safety
///
/// To be called in the child only.
unsafe fn take_identity(identity: &ChildIdentity) -> Result<(), c_long> {
    /// `_LINUX_CAPABILITY_VERSION_3`, this process, and the sets' lower and upper halves.
    #[repr(C)]
    struct Sets {
        version: u32,
        pid: c_int,
    }
    const CHROOT: u32 = 18;
    let groups = &identity.groups;
    // SAFETY: see `child`; the structures of capset live on this stack for the call.
    unsafe {
        call!(libc::SYS_setgroups, groups.len(), groups.as_ptr());
        call!(
            libc::SYS_setresgid,
            identity.gid,
            identity.effective_gid,
            identity.gid
        );
        if identity.keep_chroot {
            call!(libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0);
        }
        call!(
            libc::SYS_setresuid,
            identity.uid,
            identity.uid,
            identity.uid
        );
        if identity.keep_chroot {
            let header = Sets {
                version: 0x2008_0522,
                pid: 0,
            };
            let sets: [u32; 6] = [1 << CHROOT, 1 << CHROOT, 1 << CHROOT, 0, 0, 0];
            call!(libc::SYS_capset, &raw const header, sets.as_ptr());
            call!(
                libc::SYS_prctl,
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                CHROOT,
                0,
                0
            );
        }
    }
    Ok(())
}

/// # Safety
///
/// To be called in the child only, as its last act.
unsafe fn exec(plan: &Plan) -> c_long {
    let executable: &CStr = &plan.executable;
    // SAFETY: see `child`. On success this does not return.
    unsafe {
        libc::execve(
            executable.as_ptr(),
            plan.arguments.as_ptr(),
            plan.environment.as_ptr(),
        );
        c_long::from(*libc::__errno_location())
    }
}

#[cfg(test)]
mod tests;
