//! popward-log, the process that writes the log.

use popward_parent::connected_child::ConnectedChild;
use popward_parent::process::{Launch, Starter};
use popward_proto::VERSION;
use popward_proto::log::NoMessage;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::SupervisorSettings;
use popward_proto::supervisor_log::{Destination, SupervisorToLog};
use popward_sys::channel::{ChannelError, nonblocking_pair};
use popward_sys::spawn::ChildIdentity;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// A running popward-log.
#[derive(Debug)]
pub(crate) struct LogProcess(pub(crate) ConnectedChild<SupervisorToLog, NoMessage>);

impl LogProcess {
    /// Starts popward-log.
    ///
    /// # Errors
    ///
    /// It could not be started, or does not take its first messages.
    pub(crate) fn start(
        starter: &mut Starter,
        settings: &SupervisorSettings,
    ) -> Result<Self, ChannelError> {
        let nobody = ChildIdentity::of(NOBODY, NOBODY);
        let launch = Launch {
            libexec: settings.common.libexec.as_path(),
            role: Role::Log,
            words: &[],
            directory: None,
            identity: nix::unistd::geteuid().is_root().then_some(nobody),
        };
        let child = ConnectedChild::start(starter, &launch, &[], SetupPhase::Serving);
        let log = Self(child.map_err(ChannelError::System)?);
        // It says nothing, and nobody reads this channel. A packet from a popward-log that was taken
        // over would wake the supervisor again and again.
        let channel = log.0.channel.as_ref();
        let _ = channel.map(|channel| starter.events.forget(channel.as_fd()));
        let (version, pid) = (VERSION, std::process::id());
        let open = SupervisorToLog::Open { version, pid };
        log.0.send(&open, &[std::io::stderr().as_fd()])?;
        log.change(settings.log)?;
        Ok(log)
    }

    /// Writes to another destination from now on.
    pub(crate) fn change(&self, to: Destination) -> Result<(), ChannelError> {
        self.0.send(&SupervisorToLog::To(to), &[])
    }

    /// A channel for the lines of one more process. Returns the end of that process.
    pub(crate) fn writer(&self) -> Result<OwnedFd, ChannelError> {
        let (own, theirs) = nonblocking_pair().map_err(ChannelError::System)?;
        self.0.send(&SupervisorToLog::Writer, &[theirs.as_fd()])?;
        Ok(own)
    }

    /// Waits until it has written the last lines and ended, at most until then. Kills it then.
    pub(crate) fn end(mut self, until: Instant) {
        drop(self.0.channel.take());
        if !self.0.process.ends_until(until) {
            self.0.process.kill();
        }
        let _ = self.0.process.reap();
    }
}
