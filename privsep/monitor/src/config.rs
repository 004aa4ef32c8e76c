//! The configuration of this monitor: checked values, and descriptors of the files that the
//! configuration names. Nothing in this file opens or reads one of these files.

use popward_proto::VERSION;
use popward_proto::account_selector::{AccountSelector, TABLES_MAX};
use popward_proto::bounded::AbsolutePath;
use popward_proto::config_monitor::{Base, CERTIFICATES_MAX, ConfigToMonitor, ReadingPhase};
use popward_proto::log::NoMessage;
use popward_proto::monitor_auth::{AuthSettings, MonitorToAuth};
use popward_proto::supervisor_monitor::CommonSettings;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use std::os::fd::OwnedFd;

/// The channel over which the configuration comes.
pub(crate) type ConfigChannel = Channel<NoMessage, ConfigToMonitor>;

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// What the supervisor uses, too.
    pub(crate) common: CommonSettings,
    /// All that is not in another field.
    pub(crate) base: Base,
    /// The settings for auth.
    pub(crate) auth: AuthSettings,
    /// The login delays that differ from everybody's.
    login_delays: Vec<(AccountSelector, u32)>,
    /// The authorities of client certificates, a PEM file. `None`: fronts ask no client for a
    /// certificate.
    pub(crate) client_ca: Option<OwnedFd>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Vec<Certificate>,
}

/// A certificate chain and its key: two PEM files. The monitor keeps them open, because it may have
/// to start a front or keys again.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain. The server's own certificate comes first.
    pub(crate) chain: OwnedFd,
    /// The private key.
    pub(crate) key: OwnedFd,
    /// The path of the key, for the log.
    pub(crate) key_path: AbsolutePath,
}

impl Config {
    /// Returns the messages with auth's part of the configuration. The settings come last.
    pub(crate) fn for_auth(&self) -> Vec<MonitorToAuth> {
        let settings = MonitorToAuth::Settings {
            version: VERSION,
            settings: Box::new(self.auth.clone()),
        };
        let delays = self.login_delays.iter().cloned();
        let delays = delays.map(|(whose, delay_s)| MonitorToAuth::LoginDelay(whose, delay_s));
        delays.chain([settings]).collect()
    }
}

/// Waits for the whole configuration.
///
/// # Errors
///
/// The supervisor has ended, or broke the rules.
pub(crate) fn receive(
    channel: &mut ConfigChannel,
    common: CommonSettings,
) -> Result<Config, ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let (mut base, mut auth, mut login_delays) = (None, None, Vec::new());
    let (mut client_ca, mut certificates) = (None, Vec::new());
    loop {
        let (message, files) = channel.receive(&mut buffer)?;
        let mut files = files.into_iter();
        match message {
            ConfigToMonitor::Base(all) => {
                channel.enter(ReadingPhase::Rest);
                base = Some(*all);
            }
            ConfigToMonitor::Auth(all) => auth = Some(*all),
            ConfigToMonitor::LoginDelay(whose, delay_s) => login_delays.push((whose, delay_s)),
            ConfigToMonitor::ClientAuthorities(_) => client_ca = files.next(),
            ConfigToMonitor::Certificate { key: key_path, .. } => {
                let files = files.next().zip(files.next());
                let (chain, key) = files.ok_or(ChannelError::Closed)?;
                certificates.push(Certificate {
                    chain,
                    key,
                    key_path,
                });
            }
            ConfigToMonitor::End => {
                let (base, auth) = base.zip(auth).ok_or(ChannelError::Closed)?;
                return Ok(Config {
                    common,
                    base,
                    auth,
                    login_delays,
                    client_ca,
                    certificates,
                });
            }
        }
        if login_delays.len() > TABLES_MAX || certificates.len() > CERTIFICATES_MAX {
            return Err(ChannelError::Closed);
        }
    }
}
