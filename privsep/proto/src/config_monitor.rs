//! config → monitor: all that a monitor and its processes are told of a configuration, as typed
//! messages with the descriptors of the files that it names.
//!
//! The supervisor passes these messages on without decoding them: see [`crate::supervisor_config`].

use crate::bounded::{AbsolutePath, List, Text, UserName};
use crate::codec::{MESSAGE_LIMIT, OVERSIZED, encode};
use crate::monitor_auth::{AuthSettings, TABLES_MAX};
use crate::monitor_front::FrontSettings;
use crate::permit::{Message, Permit, Refused, any, once};
use crate::settings::{Settings, Table};
use crate::supervisor_config::{Encoded, PART_MAX, PARTS_BYTES_MAX, PARTS_MAX};
use serde::{Deserialize, Serialize};

/// Most certificates with their keys.
pub const CERTIFICATES_MAX: usize = 16;

/// Most [`Member`]s: users of the system who have a state directory and are in a group of a table
/// with a `spool.path`.
pub const MEMBERS_MAX: usize = 65_536;

/// Most bytes of an encoded [`Member`] message.
pub const MEMBER_LIMIT: usize = UserName::MAX + 13;

/// Most messages besides the tables and the members.
const OTHERS_MAX: usize = CERTIFICATES_MAX + 4;

// The supervisor keeps every configuration that passed the checks.
const _: () = assert!(TABLES_MAX + MEMBERS_MAX + OTHERS_MAX <= PARTS_MAX);
const _: () =
    assert!(MEMBERS_MAX * MEMBER_LIMIT + (TABLES_MAX + OTHERS_MAX) * PART_MAX <= PARTS_BYTES_MAX);

/// What popward-config tells a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToMonitor {
    /// All that is not in another message.
    Base(Box<Base>),
    /// What auth is told.
    Auth(Box<AuthSettings>),
    /// What holds for some accounts. The first table comes first.
    Table(Box<Table>),
    /// Who is in a group for which there is another `spool.path`.
    Member(Member),
    /// The authorities of client certificates: one descriptor, a PEM file. Without it no client is
    /// asked for a certificate.
    ClientAuthorities(AbsolutePath),
    /// A certificate: two descriptors, the PEM files of its chain and of its key. The most
    /// preferred comes first.
    Certificate {
        /// Where the chain is, for the log.
        chain: AbsolutePath,
        /// Where the key is, for the log.
        key: AbsolutePath,
    },
    /// Everything was said.
    End,
}

/// The part of a configuration that is one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// This host's name, as locks say it.
    pub host: Text<64>,
    /// How many front processes, 1 to 64.
    pub fronts: u32,
    /// The users that the processes run as. `None`: popward is not root, and all processes run as
    /// its user.
    pub accounts: Option<Accounts>,
    /// What holds for accounts that no table names.
    pub everybody: Settings,
    /// What fronts are told. The monitor puts each front's number in, and whether
    /// `limits.connections` is as before.
    pub front: FrontSettings,
}

/// Who the unprivileged processes run as: user and group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The front's.
    pub front: (u32, u32),
    /// Auth's.
    pub auth: (u32, u32),
    /// Keys'.
    pub keys: (u32, u32),
    /// That of popward-auth-program and popward-auth-proof. It is auth's if the configuration has no
    /// use for these.
    pub program: (u32, u32),
    /// That of popward-auth-pam, and the group that it has in addition. `None`: accounts do not
    /// come from PAM. Only this user can be root.
    pub pam: Option<((u32, u32), Option<u32>)>,
}

/// A user of the system with a state directory, and a group that this user has beside the primary
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user's name.
    pub user: UserName,
    /// The user's id, as the system says it.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
}

/// Encodes a message as the supervisor passes it on.
///
/// # Errors
///
/// The message is larger than its limit.
pub fn encoded(message: &ConfigToMonitor) -> Result<Encoded, Refused> {
    let mut packet = [0; MESSAGE_LIMIT];
    let length = encode(message, &mut packet)?;
    // The first byte is the tag of a packet.
    let bytes = packet[1..length].to_vec();
    List::try_from(bytes).map(Encoded).map_err(|_| OVERSIZED)
}

/// A monitor's phases while it is told a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingPhase {
    /// The base is to come.
    Base,
    /// The base has come, and the rest is to come.
    Rest,
}

impl Message for ConfigToMonitor {
    const LIMIT: usize = PART_MAX;
    type Phase = ReadingPhase;
    fn permit(&self) -> Permit<ReadingPhase> {
        use ReadingPhase::{Base, Rest};
        match self {
            Self::Base(_) => once("Base", &[Base]),
            Self::Auth(_) => once("Auth", &[Rest]),
            Self::Table(_) => any("Table", &[Rest]),
            Self::Member(_) => any("Member", &[Rest]),
            Self::ClientAuthorities(_) => once("ClientAuthorities", &[Rest]).with_descriptors(1),
            Self::Certificate { .. } => any("Certificate", &[Rest]).with_descriptors(2),
            Self::End => once("End", &[Rest]),
        }
    }
}
