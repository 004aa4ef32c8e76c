//! Messages from an auth to the auth that takes over from it at a reload: what it remembers of
//! logins, and the result of each login that it still decides. Nothing goes back.

use crate::account::SessionId;
use crate::bounded::{List, UserName};
use crate::network::Network;
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most entries of one message.
pub const ENTRIES_MAX: usize = 64;

/// The failures of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFailures {
    /// Their source.
    pub source: Network,
    /// How many counted when the last one came, in thousandths.
    pub thousandths: u32,
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
}

/// The failures of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFailures {
    /// The name.
    pub user: UserName,
    /// How many since the window began.
    pub count: u32,
    /// How long ago it began, in milliseconds.
    pub since_ms: u64,
    /// How long ago the last one was, in milliseconds.
    pub age_ms: u64,
}

/// The last login of an account with a login delay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLogin {
    /// The account's name.
    pub user: UserName,
    /// The session.
    pub session: SessionId,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
}

/// What an auth tells the one that takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToSuccessor {
    /// The key that decides what names without a password look like.
    StandInKey([u8; 32]),
    /// Failures by source.
    Sources(List<SourceFailures, ENTRIES_MAX>),
    /// Failures by name.
    Names(List<NameFailures, ENTRIES_MAX>),
    /// The last logins of accounts.
    LastLogins(List<LastLogin, ENTRIES_MAX>),
    /// The user name of each login that the old auth still decides. Each counts as a guess under
    /// way until [`Self::Decided`].
    UnderWay(List<UserName, ENTRIES_MAX>),
    /// Everything that is remembered has come. What still happens follows.
    Whole,
    /// A login failed.
    Failed {
        /// The user's name, if it is known.
        user: Option<UserName>,
        /// The client's address.
        peer: IpAddr,
    },
    /// Credentials for this name were right.
    Succeeded(UserName),
    /// This session is a login of this account.
    LoggedIn {
        /// The account's name.
        user: UserName,
        /// The session.
        session: SessionId,
    },
    /// One of [`Self::UnderWay`] is decided, and counts no more.
    Decided(UserName),
}

/// Messages back. There are none: a value of this type cannot exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuccessorToAuth {}

/// How far the handover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverPhase {
    /// What the old auth remembers.
    Remembered,
    /// What becomes of the old auth's logins.
    Happening,
}

impl Message for AuthToSuccessor {
    const LIMIT: usize = 14 * 1024;
    type Phase = HandoverPhase;
    fn permit(&self) -> Permit<HandoverPhase> {
        use HandoverPhase::{Happening, Remembered};
        match self {
            Self::StandInKey(_) => once("StandInKey", &[Remembered]),
            Self::Sources(_) => any("Sources", &[Remembered]),
            Self::Names(_) => any("Names", &[Remembered]),
            Self::LastLogins(_) => any("LastLogins", &[Remembered]),
            Self::UnderWay(_) => any("UnderWay", &[Remembered]),
            Self::Whole => once("Whole", &[Remembered]),
            Self::Failed { .. } => any("Failed", &[Happening]),
            Self::Succeeded(_) => any("Succeeded", &[Happening]),
            Self::LoggedIn { .. } => any("LoggedIn", &[Happening]),
            Self::Decided(_) => any("Decided", &[Happening]),
        }
    }
}

impl Message for SuccessorToAuth {
    const LIMIT: usize = 0;
    type Phase = HandoverPhase;
    fn permit(&self) -> Permit<HandoverPhase> {
        match *self {}
    }
}
