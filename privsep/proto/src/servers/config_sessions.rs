//! config → sessions: the part of a configuration that is about users and their spools.
//!
//! The supervisor passes these messages on without decoding them: see [`crate::supervisor_config`].

use crate::account_selector::TABLES_MAX;
use crate::bounded::{Text, UserName};
use crate::config_monitor::MESSAGES_MAX;
use crate::permit::{Message, Permit, any, once};
use crate::settings::{Settings, Table};
use crate::setup_phase::SetupPhase;
use crate::supervisor_config::{PART_MAX, PARTS_BYTES_MAX, PARTS_MAX};
use serde::{Deserialize, Serialize};

/// Most [`Member`]s: users of the system who have a state directory and are in a group of a table
/// with a `spool.path`.
pub const MEMBERS_MAX: usize = 65_536;

/// Most bytes of an encoded [`Member`] message.
pub const MEMBER_LIMIT: usize = UserName::MAX + 13;

/// Most messages besides the members, with those for the monitor.
const OTHERS_MAX: usize = TABLES_MAX + 2 + MESSAGES_MAX;

// The supervisor keeps every configuration that passed the checks.
const _: () = assert!(MEMBERS_MAX + OTHERS_MAX <= PARTS_MAX);
const _: () = assert!(MEMBERS_MAX * MEMBER_LIMIT + OTHERS_MAX * PART_MAX <= PARTS_BYTES_MAX);

/// What popward-config tells sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToSessions {
    /// All that is not in another message.
    Base(Box<SessionsBase>),
    /// What holds for some accounts. The first table comes first.
    Table(Box<Table>),
    /// Who is in a group for which there is another `spool.path`.
    Member(Member),
    /// Everything was said.
    End,
}

/// The part that is one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsBase {
    /// This host's name, as locks say it.
    pub host: Text<64>,
    /// Whether workers run as their users. Otherwise popward is not root, and all processes run as
    /// its user.
    pub as_users: bool,
    /// Smallest user id that may log in, never 0.
    pub first_uid: u32,
    /// Largest user id that may log in.
    pub last_uid: u32,
    /// What holds for accounts that no table names.
    pub everybody: Settings,
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

impl Message for ConfigToSessions {
    const LIMIT: usize = PART_MAX;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::Starting;
        match self {
            Self::Base(_) => once("Base", &[Starting]),
            Self::Table(_) => any("Table", &[Starting]),
            Self::Member(_) => any("Member", &[Starting]),
            Self::End => once("End", &[Starting]),
        }
    }
}
