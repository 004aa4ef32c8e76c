//! Gives up the rights that a process does not need, and proves that they are gone (promise P10).
//!
//! Every process does this before it reads its first untrusted byte, in this order: [`harden`],
//! then what it needs privilege for (an empty root, locks), `drop_capabilities`, [`prove`],
//! Landlock, the system call filter.

mod hardening;

#[cfg(feature = "server")]
pub use crate::capabilities::of_root::drop_capabilities;
use crate::capabilities::{self, Capabilities};
pub use hardening::{harden, prove};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
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

/// The result of a system call, with what was attempted.
pub fn attempt<T>(what: &'static str, result: nix::Result<T>) -> Result<T, NotConfined> {
    result.map_err(|errno| NotConfined::System { what, errno })
}

/// The user and the group of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The real, effective and saved user id.
    pub uid: u32,
    /// The real group id.
    pub gid: u32,
    /// The effective and saved group id. A worker has the spool directory's group until it has its
    /// locks.
    pub effective_gid: u32,
}

/// Forbids core dumps, and tracing by other processes of the same user.
pub fn forbid_dumps() -> Result<(), NotConfined> {
    attempt("no core dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    attempt("not dumpable", nix::sys::prctl::set_dumpable(false))
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
    let uids = [uid.real, uid.effective, uid.saved].map(Uid::as_raw);
    let gids = [gid.real, gid.effective, gid.saved].map(Gid::as_raw);
    let effective = identity.effective_gid;
    prove_that(uids == [identity.uid; 3], "user ids")?;
    prove_that(gids == [identity.gid, effective, effective], "group ids")?;
    // The kernel's `fsuid` and `fsgid` follow the effective ids. No code here sets them.
    let within = self::groups()?.iter().all(|group| groups.contains(group));
    prove_that(within, "supplementary groups")?;
    // The ambient set is a part of the inheritable one (capabilities(7)), so it needs no look.
    let held = attempt("read capabilities", capabilities::held())?;
    let within = held.iter().all(|set| set.is_within(keep));
    prove_that(within, "capabilities")
}

/// Fails with `what` unless `holds`.
fn prove_that(holds: bool, what: &'static str) -> Result<(), NotConfined> {
    holds.then_some(()).ok_or(NotConfined::Unproven(what))
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
