//! Gives up the rights that a process does not need, and proves that they are gone (promise P10).
//!
//! Every process does this before it reads its first untrusted byte, in this order: [`harden`],
//! then what it needs privilege for (an empty root, locks), [`drop_capabilities`], [`prove`],
//! Landlock, the system call filter.

use crate::capabilities::{Capabilities, Sets, give_up_except};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, getresgid, getresuid};

/// Why a process is not confined. The process logs this and ends.
#[derive(Debug)]
pub enum NotConfined {
    /// A system call failed.
    System {
        /// What was attempted.
        what: &'static str,
        /// Its error number.
        errno: Errno,
    },
    /// The proof failed: this is still there.
    Unproven(&'static str),
}

impl std::fmt::Display for NotConfined {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System { what, errno } => write!(out, "{what}: {errno}"),
            Self::Unproven(what) => write!(out, "not confined: {what}"),
        }
    }
}

impl std::error::Error for NotConfined {}

pub(crate) fn attempt<T>(what: &'static str, result: nix::Result<T>) -> Result<T, NotConfined> {
    result.map_err(|errno| NotConfined::System { what, errno })
}

/// The user and the group of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The real, effective and saved user id.
    pub uid: u32,
    /// The real, effective and saved group id.
    pub gid: u32,
}

impl Identity {
    /// The user and the real group of this process. `None` if its three user ids differ.
    ///
    /// The effective group may differ from the real one, because a worker gives up its effective
    /// group later. [`prove`] checks that it has.
    pub fn current() -> Option<Self> {
        let (uid, gid) = (getresuid().ok()?, getresgid().ok()?);
        let one = uid.real == uid.effective && uid.real == uid.saved;
        one.then(|| Self {
            uid: uid.real.as_raw(),
            gid: gid.real.as_raw(),
        })
    }
}

/// Forbids core dumps, and tracing by other processes of the same user.
pub fn forbid_dumps() -> Result<(), NotConfined> {
    attempt("no core dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    attempt("not dumpable", nix::sys::prctl::set_dumpable(false))
}

/// Forbids core dumps, tracing by other processes of the same user, and new privileges by exec.
/// Limits the process to `files` open descriptors, or to fewer if its hard limit is lower.
pub fn harden(files: u64) -> Result<(), NotConfined> {
    // Only a process with CAP_SYS_RESOURCE could raise the hard limit.
    let limit = "limit on open files";
    let (_, hard) = attempt(limit, getrlimit(Resource::RLIMIT_NOFILE))?;
    let files = files.min(hard);
    attempt(limit, setrlimit(Resource::RLIMIT_NOFILE, files, files))?;
    forbid_dumps()?;
    attempt("no new privileges", nix::sys::prctl::set_no_new_privs())
}

/// Gives up every capability except `keep`, in all sets. It cannot get them back. The bounding set
/// shrinks too if this process may change it.
pub fn drop_capabilities(keep: Capabilities) -> Result<(), NotConfined> {
    #[cfg(feature = "server")]
    attempt("bounding set", crate::capabilities::of_root::shrink(keep))?;
    attempt("drop capabilities", give_up_except(keep))
}

/// Proves that this process has the ids of `identity`, at most the supplementary groups `groups`
/// and at most the capabilities `keep`, that it cannot gain others, and that it cannot be dumped.
pub fn prove(identity: &Identity, groups: &[u32], keep: Capabilities) -> Result<(), NotConfined> {
    prove_ids(identity, groups, keep)?;
    if !attempt("read no_new_privs", nix::sys::prctl::get_no_new_privs())? {
        return Err(NotConfined::Unproven("no_new_privs"));
    }
    if attempt("read dumpable", nix::sys::prctl::get_dumpable())? {
        return Err(NotConfined::Unproven("dumpable"));
    }
    Ok(())
}

/// Proves ids, groups and capabilities only. The monitor uses this: it cannot set `no_new_privs`,
/// because a security module may have to change its children's domain at exec.
pub fn prove_ids(
    identity: &Identity,
    groups: &[u32],
    keep: Capabilities,
) -> Result<(), NotConfined> {
    let uid = attempt("getresuid", getresuid())?;
    let gid = attempt("getresgid", getresgid())?;
    if [uid.real, uid.effective, uid.saved] != [Uid::from_raw(identity.uid); 3] {
        return Err(NotConfined::Unproven("user ids"));
    }
    if [gid.real, gid.effective, gid.saved] != [Gid::from_raw(identity.gid); 3] {
        return Err(NotConfined::Unproven("group ids"));
    }
    // The kernel's `fsuid` and `fsgid` follow the effective ids. No code here sets them.
    if !self::groups()?.iter().all(|group| groups.contains(group)) {
        return Err(NotConfined::Unproven("supplementary groups"));
    }
    let sets = attempt("read capabilities", Sets::read())?;
    // The ambient set is a part of the inheritable one (capabilities(7)), so it needs no look.
    let held = [sets.effective, sets.permitted, sets.inheritable];
    if !held.iter().all(|set| set.is_within(keep)) {
        return Err(NotConfined::Unproven("capabilities"));
    }
    Ok(())
}

/// The supplementary groups of this process.
pub fn groups() -> Result<Vec<u32>, NotConfined> {
    let ask = |room: i32, into: *mut libc::gid_t| {
        // SAFETY: `into` has room for `room` groups. With 0 the kernel writes nothing.
        Errno::result(unsafe { libc::getgroups(room, into) })
    };
    // nix would ask the C library for the most groups that there can be, which reads a file in
    // /proc at each call.
    let count = attempt("getgroups", ask(0, std::ptr::null_mut()))?;
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    let count = attempt("getgroups", ask(count, groups.as_mut_ptr()))?;
    groups.truncate(usize::try_from(count).unwrap_or(0));
    Ok(groups)
}
