//! popward-log, the process that writes the log.

use crate::reader::{identity, start_without_log};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::events::{ChildId, Events};
use popward_parent::process::{Launch, Launcher, Process, send};
use popward_proto::VERSION;
use popward_proto::log::{LogPhase, NoMessage};
use popward_proto::log_line::Role;
use popward_proto::supervisor_config::SupervisorSettings;
use popward_proto::supervisor_log::{Destination, SupervisorToLog};
use popward_sys::channel::{Channel, ChannelError, nonblocking_pair};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// A running popward-log.
#[derive(Debug)]
pub(crate) struct LogProcess {
    pub(crate) id: ChildId,
    pub(crate) process: Process,
    channel: Channel<SupervisorToLog, NoMessage>,
}

impl LogProcess {
    /// Starts popward-log.
    ///
    /// # Errors
    ///
    /// It could not be started, or does not take its first messages.
    pub(crate) fn start(
        launcher: &mut Launcher,
        events: &mut Events,
        settings: &SupervisorSettings,
    ) -> Result<Self, ChannelError> {
        let system = ChannelError::System;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open("/", flags, Mode::empty()).map_err(system)?;
        let nobody = identity(NOBODY, NOBODY);
        let launch = Launch {
            executable: &settings.common.libexec.as_path().join("popward-log"),
            command_line: &["popward-log"],
            directory: root.as_fd(),
            identity: nix::unistd::geteuid().is_root().then_some(&nobody),
        };
        let started = start_without_log(launcher, &launch);
        let (child, control) = started.map_err(system)?;
        let (id, whose) = (events.next_id(), (Role::Log, None));
        let process = Process::watch(events, id, whose, (child, None), Some(control.as_fd()));
        let process = process.map_err(system)?;
        let channel = Channel::new(control, LogPhase::Open);
        let open = SupervisorToLog::Open {
            version: VERSION,
            pid: std::process::id(),
        };
        channel.set_nonblocking().map_err(system)?;
        send(&channel, &open, &[std::io::stderr().as_fd()])?;
        send(&channel, &SupervisorToLog::To(settings.log), &[])?;
        Ok(Self {
            id,
            process,
            channel,
        })
    }

    /// Writes to another destination from now on.
    pub(crate) fn change(&self, to: Destination) -> Result<(), ChannelError> {
        send(&self.channel, &SupervisorToLog::To(to), &[])
    }

    /// A channel for the lines of one more process. Returns the end of that process.
    pub(crate) fn writer(&self) -> Result<OwnedFd, ChannelError> {
        let (own, theirs) = nonblocking_pair().map_err(ChannelError::System)?;
        send(&self.channel, &SupervisorToLog::Writer, &[theirs.as_fd()])?;
        Ok(own)
    }

    /// Waits until it has written the last lines and ended, at most until then. Kills it then.
    pub(crate) fn end(mut self, until: Instant) {
        drop(self.channel);
        if !self.process.ends_until(until) {
            self.process.kill();
        }
        let _ = self.process.reap();
    }
}
