//! How sessions starts its processes.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::events::Events;
use popward_parent::process::{Launch, Launcher, Started};
use popward_proto::log_line::Role;
use popward_sys::spawn::ChildIdentity;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is needed to start any process.
#[derive(Debug)]
pub(crate) struct Starter {
    launcher: Launcher,
    /// The directory of the executables.
    libexec: PathBuf,
    /// `/`, the working directory.
    root: OwnedFd,
    pub(crate) events: Events,
}

impl Starter {
    /// Opens what a start needs.
    ///
    /// # Errors
    ///
    /// A path, and why it could not be opened.
    pub(crate) fn new(libexec: &Path, events: Events) -> Result<Self, (PathBuf, Errno)> {
        let at = |path: &str| {
            let path = PathBuf::from(path);
            move |errno| (path, errno)
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            launcher: Launcher::new().map_err(at("/dev/null"))?,
            libexec: libexec.to_owned(),
            root: open("/", flags, Mode::empty()).map_err(at("/"))?,
            events,
        })
    }

    /// Starts the executable of `role` as `identity`, with `word` on its command line and `socket`
    /// behind its channel and its log.
    pub(crate) fn start(
        &mut self,
        role: Role,
        word: &str,
        identity: Option<&ChildIdentity>,
        socket: BorrowedFd<'_>,
    ) -> Result<Started, Errno> {
        let name = format!("popward-{}", role.name());
        let launch = Launch {
            executable: &self.libexec.join(&name),
            command_line: &[&name, word],
            directory: self.root.as_fd(),
            identity,
        };
        self.launcher.start(&launch, &[socket])
    }
}
