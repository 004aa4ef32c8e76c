//! Confinement steps of the server's long-running processes, which workers do not need.

use super::{NotConfined, attempt};
use caps::{CapSet, Capability};

/// The kernel kills this process when its parent's thread ends that started it.
pub fn end_with_parent() -> Result<(), NotConfined> {
    attempt(
        "end with its parent",
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL),
    )
}

/// What this process's children leave behind when they end becomes this process's own children, not init's.
pub fn adopt_orphans() -> Result<(), NotConfined> {
    attempt("adopt orphans", nix::sys::prctl::set_child_subreaper(true))
}

/// Makes the working directory, which the monitor chose and which is empty, the root, if this process has
/// `CAP_SYS_CHROOT` for it. Returns whether it had.
pub fn empty_root() -> Result<bool, NotConfined> {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_CHROOT)? {
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
