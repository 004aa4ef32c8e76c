//! Starts popward-config to read the configuration: once at the start, and as another child at each
//! reload. The supervisor opens none of the files itself.

use crate::config::{Config, Draft, Heard};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;
use popward_parent::connected_child::ConnectedChild;
use popward_parent::process::{Launch, Starter, how, readable};
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::{ConfigToSupervisor, SupervisorToConfig};
use popward_sys::channel::{ChannelError, PacketBuffer};
use popward_sys::spawn::ChildIdentity;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The executable's name. It lies beside popward's own executable, because only the configuration
/// says where the other executables are.
pub(crate) const EXECUTABLE: &str = "popward-config";

/// How long popward-config may take. It is long, because the names of users and groups may come
/// from another host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running popward-config, and what it has said so far.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) child: ConnectedChild<SupervisorToConfig, ConfigToSupervisor>,
    pub(crate) draft: Draft,
    /// By when it must have said everything. `None`: what it says does not matter any more.
    pub(crate) until: Option<Instant>,
}

/// Root without supplementary groups. `None`: this process is not root.
pub(crate) fn as_root() -> Option<ChildIdentity> {
    let root = ChildIdentity::of(0, nix::unistd::getgid().as_raw());
    nix::unistd::geteuid().is_root().then_some(root)
}

impl Reading {
    /// Starts popward-config, and tells it to read the file `path`. `excerpts` is whether errors
    /// show the lines with the mistakes, for a terminal.
    ///
    /// # Errors
    ///
    /// Why it could not be started, in words for the operator. It is not started if others can
    /// change its executable.
    pub(crate) fn start(
        starter: &mut Starter,
        path: &Path,
        excerpts: bool,
    ) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("{EXECUTABLE}: {error}"))?;
        let executable = own.with_file_name(EXECUTABLE);
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", executable.display());
        let status = std::fs::metadata(&executable).map_err(|error| failed(&error))?;
        let user = nix::unistd::geteuid();
        if ![0, user.as_raw()].contains(&status.uid()) || status.mode() & 0o022 != 0 {
            let why = "expected it to be root's and writable by nobody else";
            return Err(failed(&why));
        }
        let named = path.to_str().map(|path| Text::try_from(path.to_owned()));
        let read = SupervisorToConfig::Read {
            version: VERSION,
            path: named
                .and_then(Result::ok)
                .ok_or("--config: expected a path of at most 4096 bytes, in UTF-8")?,
            excerpts,
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let here = open(".", flags, Mode::empty()).map_err(|errno| failed(&errno))?;
        let launch = Launch {
            libexec: own.parent().unwrap_or(&own),
            role: Role::Config,
            words: &[],
            // The path of the configuration may be relative.
            directory: Some(here.as_fd()),
            identity: as_root(),
        };
        let child = ConnectedChild::start(starter, &launch, &[], SetupPhase::Starting);
        let child = child.map_err(|errno| failed(&errno))?;
        child.send(&read, &[]).map_err(|error| failed(&error))?;
        Ok(Self {
            child,
            draft: Draft::default(),
            until: Some(Instant::now() + PATIENCE),
        })
    }

    /// Receives one packet. Returns the outcome if it is the last one.
    ///
    /// # Errors
    ///
    /// As [`Draft::hear`].
    pub(crate) fn hear(&mut self, buffer: &mut PacketBuffer) -> Result<Heard, ChannelError> {
        let channel = self.child.channel.as_mut();
        self.draft
            .hear(channel.ok_or(ChannelError::Closed)?, buffer)
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// The configuration has a mistake. Another start would fail, too.
    Refused(String),
    /// popward-config did not finish. Another start may succeed.
    Failed(String),
    /// A signal ended the start.
    Ended,
}

/// Reads the configuration at the start. Returns it, or why there is none, and the warnings about
/// it. This function waits for popward-config, because the supervisor has nothing else to do yet.
/// `ending` is readable after a signal that ends the server.
pub(crate) fn first(
    starter: &mut Starter,
    path: &Path,
    ending: &SignalFd,
) -> (Result<Config, NotRead>, Vec<String>) {
    match Reading::start(starter, path, true) {
        Ok(mut reading) => (all(&mut reading, ending), reading.draft.warnings),
        Err(why) => (Err(NotRead::Failed(why)), Vec::new()),
    }
}

fn all(reading: &mut Reading, ending: &SignalFd) -> Result<Config, NotRead> {
    let until = Instant::now() + PATIENCE;
    let mut buffer = PacketBuffer::for_messages();
    let read = loop {
        match reading.hear(&mut buffer) {
            Ok(None) => {}
            Ok(Some(read)) => break read.map_err(NotRead::Refused),
            Err(ChannelError::WouldBlock) if readable(&[ending.as_fd()], Instant::now()) => {
                break Err(NotRead::Ended);
            }
            Err(ChannelError::WouldBlock) => {
                let channel = reading.child.channel.iter().map(AsFd::as_fd);
                let both: Vec<_> = channel.chain([ending.as_fd()]).collect();
                if !readable(&both, until) {
                    break Err(NotRead::Failed(late()));
                }
            }
            Err(ChannelError::Closed) => {
                return Err(NotRead::Failed(gone(reading.child.process.end(false))));
            }
            Err(error) => break Err(NotRead::Failed(format!("{EXECUTABLE}: {error}"))),
        }
    };
    let ended = reading.child.process.end(true);
    ended
        .map_err(|errno| NotRead::Failed(gone(Err(errno))))
        .and(read)
}

/// The error about a popward-config that took too long.
pub(crate) fn late() -> String {
    format!("{EXECUTABLE} took longer than {} s", PATIENCE.as_secs())
}

/// The error about a popward-config that ended before it had sent everything.
pub(crate) fn gone(status: Result<WaitStatus, Errno>) -> String {
    match status {
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("{EXECUTABLE} ended by {signal}"),
        Ok(status) => format!("{EXECUTABLE} ended with {}", how(status)),
        Err(errno) => format!("{EXECUTABLE}: {errno}"),
    }
}
