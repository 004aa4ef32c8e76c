//! The configuration of this monitor: checked values, and descriptors of the files that the
//! configuration names. Nothing in this file opens or reads one of these files.

use popward_proto::VERSION;
use popward_proto::account::GROUPS_MAX;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use popward_proto::config_monitor::{
    Base, CERTIFICATES_MAX, ConfigToMonitor, MEMBERS_MAX, Member, ReadingPhase,
};
use popward_proto::log::NoMessage;
use popward_proto::monitor_auth::{AuthSettings, MonitorToAuth, TABLES_MAX};
use popward_proto::settings::{AllSettings, Table};
use popward_proto::supervisor_monitor::CommonSettings;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
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
    /// The settings that may differ between accounts.
    pub(crate) settings: AllSettings,
    /// The members of the groups that tables with a `spool.path` name.
    members: Vec<Member>,
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
        self.settings.login_delays().chain([settings]).collect()
    }

    /// Returns those groups of the user `name` for which a table has a `spool.path`. Returns no
    /// groups if the system's user `name` does not have the id `uid`. Such an account is in a
    /// password file with its own ids, so the system's groups do not hold for it.
    pub(crate) fn groups_of(&self, name: &UserName, uid: u32) -> List<u32, GROUPS_MAX> {
        let members = self.members.iter();
        let theirs = members.filter(|member| member.user == *name && member.uid == uid);
        let groups: Vec<u32> = theirs.map(|member| member.gid).collect();
        List::try_from(groups).unwrap_or_default()
    }
}

/// The part of a configuration that has come so far.
#[derive(Debug, Default)]
struct Draft {
    base: Option<Base>,
    auth: Option<AuthSettings>,
    tables: Vec<Table>,
    members: Vec<Member>,
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
        let Packet::Message(message, files) = channel.receive(&mut buffer)? else {
            return Err(ChannelError::Closed);
        };
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
            ConfigToMonitor::Table(table) => push(&mut self.tables, TABLES_MAX, *table),
            ConfigToMonitor::Member(member) => push(&mut self.members, MEMBERS_MAX, member),
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
            settings: AllSettings {
                everybody: base.everybody.clone(),
                tables: self.tables,
            },
            base,
            auth,
            members: self.members,
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
