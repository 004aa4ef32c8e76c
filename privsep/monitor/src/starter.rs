//! How the monitor starts its processes: which executable, as which user, in which root directory.

use crate::config::Config;
use nix::errno::Errno;
use popward_parent::process::Launch;
use popward_proto::log_line::Role;
use popward_sys::spawn::ChildIdentity;
use std::os::fd::{AsFd, OwnedFd};

/// How to start the process of this role. `words` follow its name on the command line. `empty` is an
/// empty directory, from sessions.
///
/// # Errors
///
/// The process needs the empty directory, and there is none.
pub(crate) fn launch<'a>(
    config: &'a Config,
    role: Role,
    words: &'a [&'a str],
    empty: Option<&'a OwnedFd>,
) -> Result<Launch<'a>, Errno> {
    let empty = empty.map(AsFd::as_fd).ok_or(Errno::ENOENT);
    let directory = has_empty_root(role).then_some(empty).transpose()?;
    Ok(Launch {
        libexec: config.common.libexec.as_path(),
        role,
        words,
        directory,
        identity: identity(config, role),
    })
}

/// Whether a process of this role has an empty root directory.
fn has_empty_root(role: Role) -> bool {
    matches!(role, Role::Front | Role::Keys | Role::AuthProof)
}

/// The identity of a process that runs as a user of the server. `None`: the server is not root, and
/// all processes run as its user.
fn identity(config: &Config, role: Role) -> Option<ChildIdentity> {
    let accounts = config.base.accounts?;
    let ((uid, gid), group) = match role {
        Role::Sessions => ((0, nix::unistd::getgid().as_raw()), None),
        Role::Front => (accounts.front, None),
        Role::Keys => (accounts.keys, None),
        Role::Auth => (accounts.auth, None),
        Role::AuthPam => accounts.pam.unwrap_or((accounts.program, None)),
        _ => (accounts.program, None),
    };
    Some(ChildIdentity {
        groups: group.into_iter().collect(),
        keep_chroot: has_empty_root(role),
        ..ChildIdentity::of(uid, gid)
    })
}
