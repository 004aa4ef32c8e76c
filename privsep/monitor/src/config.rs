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

/// The part of a configuration that has come so far.
#[derive(Debug, Default)]
struct Draft {
    base: Option<Base>,
    auth: Option<AuthSettings>,
    login_delays: Vec<(AccountSelector, u32)>,
    client_ca: Option<OwnedFd>,
    certificates: Vec<Certificate>,
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
    let mut draft = Draft::default();
    loop {
        let (message, files) = channel.receive(&mut buffer)?;
        match message {
            ConfigToMonitor::Base(_) => channel.enter(ReadingPhase::Rest),
            ConfigToMonitor::End => return draft.whole(common).ok_or(ChannelError::Closed),
            _ => {}
        }
        if !draft.add(message, files) {
            return Err(ChannelError::Closed);
        }
    }
}

impl Draft {
    /// Adds a message that the permit table permits, with its descriptors. Returns false if it is
    /// one too many.
    fn add(&mut self, message: ConfigToMonitor, files: Vec<OwnedFd>) -> bool {
        let mut files = files.into_iter();
        match message {
            ConfigToMonitor::Base(base) => self.base.replace(*base).is_none(),
            ConfigToMonitor::Auth(auth) => self.auth.replace(*auth).is_none(),
            ConfigToMonitor::LoginDelay(whose, delay_s) => {
                push(&mut self.login_delays, TABLES_MAX, (whose, delay_s))
            }
            ConfigToMonitor::ClientAuthorities(_) => {
                self.client_ca = files.next();
                true
            }
            ConfigToMonitor::Certificate { key: key_path, .. } => {
                let (Some(chain), Some(key)) = (files.next(), files.next()) else {
                    return false;
                };
                let certificate = Certificate {
                    chain,
                    key,
                    key_path,
                };
                push(&mut self.certificates, CERTIFICATES_MAX, certificate)
            }
            ConfigToMonitor::End => false,
        }
    }

    fn whole(self, common: CommonSettings) -> Option<Config> {
        let (base, auth) = self.base.zip(self.auth)?;
        Some(Config {
            common,
            login_delays: self.login_delays,
            base,
            auth,
            client_ca: self.client_ca,
            certificates: self.certificates,
        })
    }
}

/// Adds `item`. Returns false if the list then has more than `most` items.
fn push<T>(list: &mut Vec<T>, most: usize, item: T) -> bool {
    list.push(item);
    list.len() <= most
}
