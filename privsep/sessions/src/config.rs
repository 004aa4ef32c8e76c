//! The part of the configuration that is about users and their spools: checked values.

use popward_proto::account::GROUPS_MAX;
use popward_proto::account_selector::TABLES_MAX;
use popward_proto::bounded::{List, UserName};
use popward_proto::config_sessions::{ConfigToSessions, MEMBERS_MAX, Member, SessionsBase};
use popward_proto::log::NoMessage;
use popward_proto::settings::AllSettings;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};

/// The channel over which the configuration comes.
pub(crate) type ConfigChannel = Channel<NoMessage, ConfigToSessions>;

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// All that is not in another field.
    pub(crate) base: SessionsBase,
    /// The settings that may differ between accounts.
    pub(crate) settings: AllSettings,
    /// The members of the groups that tables with a `spool.path` name.
    members: Vec<Member>,
}

impl Config {
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

/// Waits for the whole configuration.
///
/// # Errors
///
/// The supervisor has ended, or broke the rules.
pub(crate) fn receive(channel: &mut ConfigChannel) -> Result<Config, ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let (mut base, mut tables, mut members) = (None, Vec::new(), Vec::new());
    loop {
        let (message, _) = channel.receive(&mut buffer)?;
        match message {
            ConfigToSessions::Base(all) => base = Some(*all),
            ConfigToSessions::Table(table) => tables.push(*table),
            ConfigToSessions::Member(member) => members.push(member),
            ConfigToSessions::End => {
                let base = base.ok_or(ChannelError::Closed)?;
                let everybody = base.everybody.clone();
                return Ok(Config {
                    base,
                    settings: AllSettings { everybody, tables },
                    members,
                });
            }
        }
        if tables.len() > TABLES_MAX || members.len() > MEMBERS_MAX {
            return Err(ChannelError::Closed);
        }
    }
}
