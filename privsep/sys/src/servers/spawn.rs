//! Starts another executable as another user, with exactly the descriptors that the caller lists.
//!
//! The child is a copy of the parent until its exec. It makes only system calls, on values that the
//! parent has prepared: no allocation, no lock, no panic.
//!
//! The parent does not wait for the exec. Once the child has its user's ids, that user can stop it
//! or leave it no processor time. If the parent waited, so would everybody else. The child closes
//! all other descriptors before it takes the ids, so a child that is stopped holds nothing that the
//! executable would not have.
//!
//! A child that fails before its exec ends with an exit status from which [`not_started`] reads the
//! error.

pub mod pace;

use crate::keyring;
use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, c_long};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
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

impl ChildIdentity {
    /// A user with one group.
    pub fn of(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            effective_gid: gid,
            groups: Vec::new(),
            keep_chroot: false,
        }
    }
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

impl Child {
    /// Kills it. It must not have been reaped.
    pub fn kill(&self) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap_or(i32::MAX));
        // The child may have ended.
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    }

    /// Waits until it has ended, and reaps it. With `first_kill`, kills it before. Without it, the
    /// child must be about to end, because this waits without a limit.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn end(&self, first_kill: bool) -> nix::Result<WaitStatus> {
        if first_kill {
            self.kill();
        }
        waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)
    }
}

/// The signals that a child blocks, as the kernel's bit mask: SIGHUP, SIGINT and SIGTERM.
///
/// The parent ends a child by closing its channel, or by SIGKILL. A `killall`, or a service manager
/// that signals all processes at once, must not end a worker in the middle of an update.
static BLOCKED_SIGNALS: u64 =
    1 << (libc::SIGHUP - 1) | 1 << (libc::SIGINT - 1) | 1 << (libc::SIGTERM - 1);

/// The number of the last signal.
const SIGNALS: c_int = 64;

/// The exit status of a child that failed before its exec is this and the number of its error. No
/// executable of popward has such an exit status.
const NOT_STARTED: c_int = 128;

/// Why a child never came to its exec. `None`: it did.
pub fn not_started(status: WaitStatus) -> Option<Errno> {
    match status {
        WaitStatus::Exited(_, code) if code >= NOT_STARTED => {
            Some(Errno::from_raw(code - NOT_STARTED))
        }
        _ => None,
    }
}

/// Everything that the child needs until its exec. The parent prepares it. The child writes only
/// `moved`.
struct Prepared<'a> {
    executable: CString,
    arguments: Vec<*const c_char>,
    environment: [*const c_char; 1],
    descriptors: Vec<RawFd>,
    moved: Vec<RawFd>,
    directory: RawFd,
    identity: Option<&'a ChildIdentity>,
}

/// Starts `spawn`. Does not wait for its exec.
///
/// # Errors
///
/// There is no child. The error of a child that cannot become the executable is in its exit status
/// ([`not_started`]).
pub fn spawn(spawn: &Spawn<'_>) -> Result<Child, Errno> {
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let arguments = spawn
        .arguments
        .iter()
        .map(|argument| c_string(argument.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut descriptors = vec![spawn.null.as_raw_fd(); 3];
    descriptors.extend(spawn.descriptors.iter().map(AsRawFd::as_raw_fd));
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
        identity: spawn.identity,
    };
    // No signal handler of the parent may run in the child.
    let mut before = SigSet::empty();
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before))?;
    let started = fork(&mut plan);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started
}

/// Makes the child. It uses the system call, because the C library's `fork` gives no pidfd and runs
/// what libraries have left for a fork.
fn fork(plan: &mut Prepared<'_>) -> Result<Child, Errno> {
    let mut pidfd: c_int = -1;
    let flags = c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without a stack and without CLONE_VM, the child goes on here with a copy of this
    // memory. The kernel writes the pidfd to the third argument.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            0_usize,
            &raw mut pidfd,
            0_usize,
            0_usize,
        )
    };
    let pid = Errno::result(pid)?;
    if pid == 0 {
        // SAFETY: this is the child. The pointers in `plan` are valid, as in the parent.
        unsafe { child(plan) }
    }
    // SAFETY: CLONE_PIDFD has made this descriptor, and nothing else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = u32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Child { pid, pidfd })
}

/// What the child does. It never returns.
///
/// # Safety
///
/// To be called in the child only. The plan's pointers must be valid.
unsafe fn child(plan: &mut Prepared<'_>) -> ! {
    // SAFETY: these are system calls on the contents of `plan`: strings that end in NUL, arrays
    // that end in null, and lists with their lengths. All of them live until the exec.
    unsafe {
        let failed = prepare(plan).err().unwrap_or_else(|| exec(plan));
        // The parent sees the lowest eight bits.
        libc::_exit((NOT_STARTED + c_int::try_from(failed).unwrap_or(127)).min(255))
    }
}

/// Makes a raw system call and returns its error number. glibc's wrappers of the set-id calls
/// cannot be used: they would signal the parent's threads, of which they have a copied list.
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
unsafe fn prepare(plan: &mut Prepared<'_>) -> Result<(), c_long> {
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
            call!(libc::SYS_dup3, *moved, target, 0);
        }
        call!(libc::SYS_close_range, count, libc::c_uint::MAX, 0);
        call!(libc::SYS_setsid);
        call!(libc::SYS_umask, 0o077);
        if let Some(identity) = plan.identity {
            leave_keyring()?;
            take_identity(identity)?;
            // Another process of this user must not trace it. The parent has set this before.
            // Taking ids has undone it if fs.suid_dumpable is set.
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

/// Sets all signals to their defaults. Otherwise the parent's handlers would run in the child, and
/// the executable would ignore the signals that the parent ignores.
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
            // be used, because it refuses signals that it keeps for itself.
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
unsafe fn exec(plan: &Prepared<'_>) -> c_long {
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
