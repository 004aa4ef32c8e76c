//! The configuration as popward-config has sent it. The supervisor looks only at the base. It keeps
//! the rest as it is, and passes all of it on to each monitor that serves with this configuration.

use nix::errno::Errno;
use popward_parent::process::send_until;
use popward_proto::monitor_auth::TABLES_MAX;
use popward_proto::monitor_config::{
    Base, CERTIFICATES_MAX, ConfigToMonitor, MEMBERS_MAX, ReadingPhase, SupervisorToConfig,
    WARNINGS_MAX,
};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The channel from popward-config.
pub(crate) type FromConfig = Channel<SupervisorToConfig, ConfigToMonitor>;

/// The channel to a monitor for its configuration.
pub(crate) type ToMonitor = Channel<ConfigToMonitor, SupervisorToConfig>;

/// Most messages besides the base: tables, members, certificates, auth's part and the authorities.
const REST_MAX: usize = TABLES_MAX + MEMBERS_MAX + CERTIFICATES_MAX + 2;

/// How long a monitor may take to read its configuration, which can be longer than its socket
/// holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// The configuration file. A reload reads it again.
    pub(crate) path: PathBuf,
    pub(crate) base: Box<Base>,
    /// The messages after the base, with their descriptors.
    rest: Vec<(ConfigToMonitor, Vec<OwnedFd>)>,
}

/// The part of a configuration that has come so far.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    base: Option<Box<Base>>,
    rest: Vec<(ConfigToMonitor, Vec<OwnedFd>)>,
    /// Warnings for the operator.
    pub(crate) warnings: Vec<String>,
}

/// The result of adding a message to a draft.
#[derive(Debug)]
pub(crate) enum Drafted {
    /// The draft is not complete yet.
    More,
    /// The configuration is complete.
    Whole(Config),
    /// The configuration cannot be used. The text says why.
    Refused(String),
}

impl Config {
    /// Whether there is a certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        let is_certificate =
            |message: &ConfigToMonitor| matches!(message, ConfigToMonitor::Certificate { .. });
        self.rest.iter().any(|(message, _)| is_certificate(message))
    }

    /// Sends the whole configuration.
    ///
    /// # Errors
    ///
    /// The monitor does not take it.
    pub(crate) fn pass_on(&self, channel: &ToMonitor) -> Result<(), ChannelError> {
        let until = Instant::now() + PATIENCE;
        channel.set_nonblocking().map_err(ChannelError::System)?;
        send_until(
            channel,
            &ConfigToMonitor::Base(self.base.clone()),
            &[],
            until,
        )?;
        for (message, files) in &self.rest {
            let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            send_until(channel, message, &files, until)?;
        }
        send_until(channel, &ConfigToMonitor::End, &[], until)
    }
}

impl Draft {
    /// An empty draft of the configuration in the file `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            base: None,
            rest: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Receives one packet, and adds its message.
    ///
    /// # Errors
    ///
    /// popward-config has ended or broken the rules, or there is no packet now.
    pub(crate) fn hear(
        &mut self,
        channel: &mut FromConfig,
        buffer: &mut PacketBuffer,
    ) -> Result<Drafted, ChannelError> {
        let broken = ChannelError::System(Errno::EPROTO);
        let Packet::Message(message, files) = channel.receive(buffer)? else {
            return Err(broken);
        };
        let room = match message {
            ConfigToMonitor::Refused(why) => return Ok(Drafted::Refused(why.into())),
            ConfigToMonitor::End => {
                channel.enter(ReadingPhase::Whole);
                return Ok(Drafted::Whole(Config {
                    path: std::mem::take(&mut self.path),
                    base: self.base.take().ok_or(broken)?,
                    rest: std::mem::take(&mut self.rest),
                }));
            }
            ConfigToMonitor::Base(base) => {
                channel.enter(ReadingPhase::Rest);
                self.base.replace(base).is_none()
            }
            ConfigToMonitor::Warning(text) => {
                self.warnings.push(text.into());
                self.warnings.len() <= WARNINGS_MAX
            }
            message => {
                self.rest.push((message, files));
                self.rest.len() <= REST_MAX
            }
        };
        room.then_some(Drafted::More).ok_or(broken)
    }
}
