//! How the monitor starts its processes: which executable, as which user, in which root directory.

use crate::config::Config;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::events::Events;
use popward_parent::process::{Launch, Launcher, Started};
use popward_proto::log_line::Role;
use popward_sys::spawn::{Child, ChildIdentity};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is needed to start any process.
#[derive(Debug)]
pub(crate) struct Starter {
    launcher: Launcher,
    /// The directory of the executables.
    libexec: PathBuf,
    /// `/`.
    root: OwnedFd,
    /// An empty directory, from sessions. It becomes the root directory of some processes.
    pub(crate) empty: Option<OwnedFd>,
    pub(crate) events: Events,
}

impl Starter {
    /// Opens what a start needs.
    ///
    /// # Errors
    ///
    /// A path, and why it could not be opened.
    pub(crate) fn new(config: &Config, events: Events) -> Result<Self, (PathBuf, Errno)> {
        let null = |errno| (PathBuf::from("/dev/null"), errno);
        Ok(Self {
            launcher: Launcher::new().map_err(null)?,
            libexec: config.common.libexec.as_path().to_owned(),
            root: directory(Path::new("/"), OFlag::empty())?,
            empty: None,
            events,
        })
    }

    /// Starts the executable of `role` as `identity`, with a channel and a log.
    pub(crate) fn start(
        &mut self,
        role: Role,
        identity: Option<&ChildIdentity>,
    ) -> Result<Started, Errno> {
        self.launch(role, &[], identity, |launcher, launch| {
            launcher.start(launch, &[])
        })
    }

    /// Starts the executable of `role` as `identity`, with these descriptors and no others. `words`
    /// follow its name on the command line.
    pub(crate) fn start_with(
        &mut self,
        role: Role,
        words: &[&str],
        identity: Option<&ChildIdentity>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Child, Errno> {
        self.launch(role, words, identity, |launcher, launch| {
            launcher.start_with(launch, descriptors)
        })
    }

    fn launch<T>(
        &mut self,
        role: Role,
        words: &[&str],
        identity: Option<&ChildIdentity>,
        start: impl FnOnce(&Launcher, &Launch<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let name = format!("popward-{}", role.name());
        let command_line: Vec<&str> = [name.as_str()]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let directory = match role {
            role if has_empty_root(role) => self.empty.as_ref().ok_or(Errno::ENOENT)?,
            _ => &self.root,
        };
        let launch = Launch {
            executable: &self.libexec.join(&name),
            command_line: &command_line,
            directory: directory.as_fd(),
            identity,
        };
        start(&self.launcher, &launch)
    }
}

fn directory(path: &Path, flags: OFlag) -> Result<OwnedFd, (PathBuf, Errno)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | flags;
    open(path, flags, Mode::empty()).map_err(|errno| (path.to_owned(), errno))
}

/// Whether a process of this role has an empty root directory.
fn has_empty_root(role: Role) -> bool {
    matches!(role, Role::Front | Role::Keys | Role::AuthProof)
}

/// The identity of a process that runs as a user of the server. `None`: the server is not root, and
/// all processes run as its user.
pub(crate) fn identity(config: &Config, role: Role) -> Option<ChildIdentity> {
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
        uid,
        gid,
        effective_gid: gid,
        groups: group.into_iter().collect(),
        keep_chroot: has_empty_root(role),
    })
}
