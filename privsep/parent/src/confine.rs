//! What a process gives up that starts others.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use popward_sys::capabilities::Capabilities;
use popward_sys::confine::{self, Identity, NotConfined, attempt};

/// Gives up every capability but `keep`, and proves it. Takes as many open files as the process may
/// have. A process that is not root has nothing to give up.
///
/// `no_new_privs` is not set here: SELinux and AppArmor could then no longer change domains at the
/// execs. Each child sets it for itself. The supervisor has forbidden the calls of
/// [`popward_sys::seccomp::denials`] for itself and for all processes below it.
///
/// # Errors
///
/// A system call failed, or the proof did. The process must not go on then.
pub fn confine(keep: Capabilities) -> Result<(), NotConfined> {
    let limit = "limit on open files";
    let (_, most) = attempt(limit, getrlimit(Resource::RLIMIT_NOFILE))?;
    attempt(limit, setrlimit(Resource::RLIMIT_NOFILE, most, most))?;
    confine::forbid_dumps()?;
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    confine::drop_capabilities(keep)?;
    let gid = nix::unistd::getgid().as_raw();
    let root = Identity {
        uid: 0,
        gid,
        effective_gid: gid,
    };
    confine::prove_ids(&root, &[], keep)
}
