//! The start and the end that auth, keys and front have in common, and their confinement.
//!
//! The monitor and the workers do not use this.

use crate::capabilities::{self, Capabilities};
use crate::channel::ChannelError;
use crate::confine::{Identity, NotConfined, attempt, drop_capabilities, groups, harden, prove};
use crate::inherited;
use crate::log::Log;
use nix::unistd::{getresgid, getresuid};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Takes the channel to the monitor and the log, then runs `confine`.
///
/// `None` if one of these failed: the process must exit with a failure then. A failed `confine` is
/// logged. Without a log there is nobody to tell.
pub fn start<E: Display>(confine: impl FnOnce() -> Result<(), E>) -> Option<(OwnedFd, Log)> {
    let [control, log] = inherited::take::<2>().ok()?;
    let log = Log::new(log).ok()?;
    if let Err(error) = confine() {
        log.error(None, "not confined", &[("error", &error)]);
        return None;
    }
    Some((control, log))
}

/// The exit status of a process whose channel to the monitor has ended with `result`.
///
/// A closed channel is the normal end. Any other error is logged.
pub fn exit_code(result: Result<(), ChannelError>, log: &Log) -> ExitCode {
    match result {
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(None, "the monitor broke the rules", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}

/// Which root directory a process has after [`drop_privileges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The host's.
    Host,
    /// An empty directory. Only under a monitor that is not root it stays the host's.
    Empty,
}

/// Gives up every capability, proves that nothing is left, and limits the process to `files` open
/// descriptors.
///
/// # Errors
///
/// A system call failed, or the proof did. The process must not go on then.
pub fn drop_privileges(files: u64, root: Root) -> Result<(), NotConfined> {
    harden(files)?;
    let is_empty = root == Root::Empty && empty_root()?;
    drop_capabilities(Capabilities::NONE)?;
    let between = NotConfined::Unproven("between two users or groups");
    let identity = Identity::current().ok_or(between)?;
    // The monitor starts a process with an empty root without any group. A monitor that is not root
    // cannot do so: its children keep its own groups. Auth keeps the groups that it was started
    // with.
    let groups = if is_empty { Vec::new() } else { groups()? };
    prove(&identity, &groups, Capabilities::NONE)
}

/// Makes the kernel kill this process when the thread that started it ends.
pub fn end_with_parent() -> Result<(), NotConfined> {
    attempt(
        "end with its parent",
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL),
    )
}

/// Makes the kernel end this process after `seconds`, whatever it waits for then.
pub fn end_after(seconds: u32) {
    // The result is the time that was left of an earlier alarm. There was none.
    let _ = nix::unistd::alarm::set(seconds);
}

/// Makes this process the parent of its children's orphans, in the place of init.
pub fn adopt_orphans() -> Result<(), NotConfined> {
    attempt("adopt orphans", nix::sys::prctl::set_child_subreaper(true))
}

/// Makes the working directory the root directory. The monitor has chosen an empty one.
///
/// Returns false, and does nothing, if this process has no `CAP_SYS_CHROOT`.
fn empty_root() -> Result<bool, NotConfined> {
    let [held, _, _] = attempt("read capabilities", capabilities::held())?;
    if !Capabilities::SYS_CHROOT.is_within(held) {
        return Ok(false);
    }
    attempt("chroot", nix::unistd::chroot("."))?;
    attempt("chdir to the new root", nix::unistd::chdir("/"))?;
    match std::fs::read_dir("/").map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(true),
        _ => Err(NotConfined::Unproven(
            "the new root is not an empty directory",
        )),
    }
}

impl Identity {
    /// The user and the group of this process. `None` if it is between two users or groups.
    pub fn current() -> Option<Self> {
        let (uid, gid) = (getresuid().ok()?, getresgid().ok()?);
        let one_user = uid.real == uid.effective && uid.real == uid.saved;
        let one_group = gid.real == gid.effective && gid.real == gid.saved;
        (one_user && one_group).then(|| Self {
            uid: uid.real.as_raw(),
            gid: gid.real.as_raw(),
            effective_gid: gid.real.as_raw(),
        })
    }
}
