//! The configuration as popward-config has sent it: the supervisor's own part, that of the monitors,
//! and that of their sessions. The supervisor keeps the last two undecoded, and passes them on to
//! each monitor that serves with this configuration.

use nix::errno::Errno;
use popward_parent::process::send_until;
use popward_proto::log::NoMessage;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::{
    ConfigToSupervisor, Encoded, PARTS_BYTES_MAX, PARTS_MAX, PassedOn, SupervisorSettings,
    SupervisorToConfig, WARNINGS_MAX,
};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The channel from popward-config.
pub(crate) type FromConfig = Channel<SupervisorToConfig, ConfigToSupervisor>;

/// How long a monitor may take to read its configuration, which can be longer than its socket
/// holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Box<SupervisorSettings>,
    /// `limits.connections` of the configuration before.
    pub(crate) connections_before: Option<u32>,
    pub(crate) monitors: Parts,
    pub(crate) sessions: Parts,
}

/// The messages for monitors or for their sessions, with their descriptors.
pub(crate) type Parts = Vec<(Encoded, Vec<OwnedFd>)>;

/// The part of a configuration that has come so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    settings: Option<Box<SupervisorSettings>>,
    monitors: Parts,
    sessions: Parts,
    /// The size of all parts.
    bytes: usize,
    /// Warnings for the operator.
    pub(crate) warnings: Vec<String>,
}

/// What has come of a message: nothing yet, or the whole configuration, or why it cannot be used.
pub(crate) type Heard = Option<Result<Config, String>>;

/// Sends a monitor, or sessions, their part over a socket that is for nothing else.
///
/// # Errors
///
/// The receiver does not take it.
pub(crate) fn pass_on(parts: &Parts, socket: OwnedFd) -> Result<(), ChannelError> {
    let until = Instant::now() + PATIENCE;
    let channel = Channel::<PassedOn<'_>, NoMessage>::new(socket, SetupPhase::Serving);
    channel.set_nonblocking().map_err(ChannelError::System)?;
    for (encoded, files) in parts {
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send_until(&channel, &PassedOn(encoded), &files, until)?;
    }
    Ok(())
}

impl Draft {
    /// Receives one packet, and adds its message.
    ///
    /// # Errors
    ///
    /// popward-config has ended or broken the rules, or there is no packet now.
    pub(crate) fn hear(
        &mut self,
        channel: &mut FromConfig,
        buffer: &mut PacketBuffer,
    ) -> Result<Heard, ChannelError> {
        let broken = ChannelError::System(Errno::EPROTO);
        let (message, files) = channel.receive(buffer)?;
        if let ConfigToSupervisor::Part { encoded, .. }
        | ConfigToSupervisor::SessionsPart(encoded) = &message
        {
            self.bytes += encoded.0.as_slice().len();
        }
        match message {
            ConfigToSupervisor::Refused(why) => return Ok(Some(Err(why.into()))),
            ConfigToSupervisor::End => {
                channel.enter(SetupPhase::Serving);
                return Ok(Some(Ok(Config {
                    settings: self.settings.take().ok_or(broken)?,
                    connections_before: None,
                    monitors: std::mem::take(&mut self.monitors),
                    sessions: std::mem::take(&mut self.sessions),
                })));
            }
            ConfigToSupervisor::Settings(settings) => self.settings = Some(settings),
            ConfigToSupervisor::Warning(text) => self.warnings.push(text.into()),
            ConfigToSupervisor::Part { encoded, .. } => self.monitors.push((encoded, files)),
            ConfigToSupervisor::SessionsPart(encoded) => self.sessions.push((encoded, files)),
        }
        let parts = self.monitors.len() + self.sessions.len();
        let room = parts <= PARTS_MAX && self.bytes <= PARTS_BYTES_MAX;
        let room = room && self.warnings.len() <= WARNINGS_MAX;
        room.then_some(None).ok_or(broken)
    }
}

#[cfg(test)]
mod tests;
