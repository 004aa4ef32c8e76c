//! Starts another executable as another user, with exactly the descriptors that the caller lists.
//!
//! It uses `clone` with `CLONE_VM`. No page tables are copied, so the cost does not depend on the
//! parent's size. The parent waits until the exec. Until then the child runs on a stack of its own
//! and makes only system calls, on values that the parent has prepared: no allocation, no lock, no
//! panic.
//!
//! It does not use `CLONE_VFORK`, because that wait has no time limit. Once the child has its
//! user's ids, that user can stop it, and the monitor would wait for ever.

use crate::keyring;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_char, c_int, c_long, c_void};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The user and the groups of a new process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildIdentity {
    /// The real, effective and saved user id.
    pub uid: u32,
    /// The real group id.
    pub gid: u32,
    /// The effective group id. The exec makes it the saved one too. It is `gid`, or another group
    /// that the process gives up later, which takes no privilege.
    pub effective_gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// Whether the process keeps `CAP_SYS_CHROOT`. With it, it can take an empty root directory.
    pub keep_chroot: bool,
}

/// A process to start.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The executable.
    pub executable: &'a Path,
    /// Its `argv`. Every user can read this, so it must hold no secret.
    pub arguments: &'a [&'a str],
    /// The null device. It becomes descriptors 0, 1 and 2.
    pub null: BorrowedFd<'a>,
    /// The descriptors from 3 on.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Its working directory.
    pub directory: BorrowedFd<'a>,
    /// Its identity, which it takes before the exec: no instruction of the executable runs as the
    /// parent. `None`: it keeps the parent's.
    pub identity: Option<&'a ChildIdentity>,
}

/// A started process.
#[derive(Debug)]
pub struct Child {
    /// Its id, for logs and locks. Once it is reaped, another process can get the same id.
    pub pid: u32,
    /// Its pidfd. It is readable once the process has ended. `waitid` and signals by it never reach
    /// another process.
    pub pidfd: OwnedFd,
}

/// The signals that a child blocks, as the kernel's bit mask: SIGHUP, SIGINT and SIGTERM.
///
/// The parent ends a child by closing its channel, or by SIGKILL. A `killall`, or a service manager
/// that signals all processes at once, must not end a worker in the middle of an update.
static BLOCKED_SIGNALS: u64 =
    1 << (libc::SIGHUP - 1) | 1 << (libc::SIGINT - 1) | 1 << (libc::SIGTERM - 1);

/// The number of the last signal.
const SIGNALS: c_int = 64;

/// The size of the child's stack, in bytes. The child calls only the kernel.
const STACK: usize = 64 * 1024;

/// How often the parent checks whether a child has reached its exec, and the milliseconds between
/// two checks. Together they are 10 seconds, enough for a busy host with a slow disk.
const EXEC_CHECKS: (u16, u16) = (200, 50);

/// Starts processes, one after the other. One stack is enough, because the parent waits for each
/// exec.
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

/// Everything that the child needs until its exec. The parent prepares it. The child writes only
/// `moved` and `failed`.
struct Prepared {
    executable: CString,
    arguments: Vec<*const c_char>,
    environment: [*const c_char; 1],
    /// The last one is a pipe that closes at the exec, or at the child's end. So the parent sees
    /// either.
    descriptors: Vec<RawFd>,
    moved: Vec<RawFd>,
    directory: RawFd,
    identity: Option<ChildIdentity>,
    failed: c_long,
}

impl Spawner {
    /// Starts `spawn`.
    ///
    /// # Errors
    ///
    /// The error of the first system call that failed in the child, `execve` included. `EAGAIN` if
    /// the child's user has stopped it before its exec, or if the exec took too long.
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
        let mut plan = Prepared {
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
        // No signal handler may run on the child's stack, because the memory is the parent's.
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
        // SAFETY: `plan` is alive, and the child no longer uses it: the child has ended or has
        // memory of its own. The read is volatile because the compiler does not know that the child
        // has written.
        let failed = unsafe { std::ptr::read_volatile(&raw const plan.failed) };
        if failed != 0 || !in_time {
            // The child has ended without an exec, and nobody else waits for it.
            reap(&child)?;
            let failed = if in_time { failed } else { libc::EAGAIN.into() };
            return Err(Errno::from_raw(i32::try_from(failed).unwrap_or(libc::EIO)));
        }
        Ok(child)
    }

    fn clone(&mut self, plan: &mut Prepared) -> Result<Child, Errno> {
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
        let top = self.stack.as_mut_ptr_range().end.cast::<c_void>();
        // SAFETY: `top` is the aligned end of a stack that this object owns, and nothing else uses
        // it meanwhile. The caller waits (`await_exec`) until the child has exec'd or ended. So
        // `plan` outlives its use, and parent and child do not use it at the same time. `child`
        // makes only system calls.
        let pid = Errno::result(unsafe {
            libc::clone(child, top, flags, (&raw mut *plan).cast(), &raw mut pidfd)
        })?;
        // SAFETY: CLONE_PIDFD has made this descriptor, and nothing else owns it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Child {
            pid: pid.unsigned_abs(),
            pidfd,
        })
    }
}

/// Waits until a child has exec'd or ended. Returns false if it was stopped or took too long: then
/// it was killed.
fn await_exec(child: &Result<Child, Errno>, exec: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let Ok(child) = child else {
        return true;
    };
    let closed = |patience: PollTimeout| {
        let mut ready = [PollFd::new(exec.as_fd(), PollFlags::empty())];
        // All signals are blocked, so nothing interrupts this.
        poll(&mut ready, patience).is_ok_and(|count| count > 0)
    };
    for _ in 0..EXEC_CHECKS.0 {
        if closed(EXEC_CHECKS.1.into()) {
            return true;
        }
        let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        let state = waitid(Id::PIDFd(child.pidfd.as_fd()), stopped);
        if !matches!(state, Ok(WaitStatus::StillAlive)) {
            break;
        }
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.pid).unwrap_or(i32::MAX));
    // It is a child of this process and not reaped, so no other process has its id. It uses the
    // parent's memory until it has ended, so the parent waits for that.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    while !closed(PollTimeout::NONE) {}
    false
}

/// Waits for a child that is known to have ended.
fn reap(child: &Child) -> nix::Result<()> {
    waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED).map(drop)
}

/// What the child does before the exec.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one that `clone` was given, to a live `Prepared`. Its owner waits
    // meanwhile.
    let plan = unsafe { &mut *plan.cast::<Prepared>() };
    // SAFETY: these are system calls on the contents of `plan`: strings that end in NUL, arrays
    // that end in null, and lists with their lengths. All of them live until the exec.
    unsafe {
        let failed = prepare(plan).err().unwrap_or_else(|| exec(plan));
        std::ptr::write_volatile(&raw mut plan.failed, failed);
    }
    127
}

/// Makes a raw system call and returns its error number. glibc's wrappers of the set-id calls
/// cannot be used: they would signal the parent's threads, because the child shares their memory.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        // The kernel takes machine words, so every argument is converted.
        #[allow(clippy::cast_lossless, clippy::cast_possible_wrap)]
        if libc::syscall($number $(, $argument as c_long)*) < 0 {
            return Err(c_long::from(*libc::__errno_location()));
        }
    };
}

/// Gives the child its descriptors, working directory, session, umask, keyring, identity and
/// signals.
///
/// # Safety
///
/// To be called in the child only. The plan's pointers must be valid.
unsafe fn prepare(plan: &mut Prepared) -> Result<(), c_long> {
    // SAFETY: see `child`.
    unsafe {
        let count = c_long::try_from(plan.descriptors.len()).unwrap_or(c_long::MAX);
        // First every descriptor is copied to a number behind all targets, because a source may
        // have the number of another one's target. Then each copy goes to its target.
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
            leave_keyring()?;
            take_identity(identity)?;
            // Another process of this user must not trace it. The memory is still the parent's, so
            // this holds for the parent too, which has set it before. Taking ids has undone it if
            // fs.suid_dumpable is set.
            call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        }
        forget_handlers()?;
        call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const BLOCKED_SIGNALS,
            0,
            size_of::<u64>()
        );
    }
    Ok(())
}

/// Leaves the keyring of whoever started the server, and joins a new, empty one. Without that, the
/// child could use and change the keys of root's login session.
///
/// # Safety
///
/// To be called in the child only.
unsafe fn leave_keyring() -> Result<(), c_long> {
    // SAFETY: see `child`. Without a name, the keyring is a new one.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, keyring::JOIN_SESSION_KEYRING, 0_usize) };
    // SAFETY: see `child`.
    match unsafe { *libc::__errno_location() } {
        _ if joined >= 0 => Ok(()),
        // There is nothing to leave: the kernel has no keyrings, or a container forbids the call,
        // or the user of a container has used up its keys. Then the supervisor's own empty keyring
        // stays.
        libc::ENOSYS | libc::EPERM | libc::EDQUOT => Ok(()),
        errno => Err(errno.into()),
    }
}

/// Sets all signals to their defaults. A handler would run in the child, as its user, on the
/// parent's memory.
///
/// # Safety
///
/// To be called in the child only. All signals must be blocked.
unsafe fn forget_handlers() -> Result<(), c_long> {
    /// The kernel's `struct sigaction`: the default handler, no flags, no restorer, an empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=SIGNALS {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: see `child`. The kernel reads the structure. The C library's wrapper cannot
            // be used, because it writes to the parent's memory.
            unsafe {
                call!(
                    libc::SYS_rt_sigaction,
                    signal,
                    DEFAULT.as_ptr(),
                    0,
                    size_of::<u64>()
                );
            }
        }
    }
    Ok(())
}

/// Takes the groups, the ids and (if asked for) `CAP_SYS_CHROOT`.
///
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
    // SAFETY: see `child`. The structures for capset live on this stack during the call.
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

/// Executes the program. Returns the error number if that fails.
///
/// # Safety
///
/// To be called in the child only, as its last step.
unsafe fn exec(plan: &Prepared) -> c_long {
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
