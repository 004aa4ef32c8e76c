//! Who is who: sessions, fronts and the accounts that a session can become.

use crate::bounded::{AbsolutePath, List, UserName};
use serde::{Deserialize, Serialize};

/// A front process, numbered by the monitor over its whole life; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrontId(pub u32);

/// One client's connection, from accept to close: the ticket of its login and the id in each of its log lines.
///
/// The upper half is the front's number, the lower one counts that front's connections, so no two sessions of
/// one monitor share an id, and nobody can speak of another front's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(u64);

impl SessionId {
    /// The session of `front` with number `count`.
    pub fn new(front: FrontId, count: u32) -> Self {
        Self(u64::from(front.0) << 32 | u64::from(count))
    }

    /// The front that it belongs to.
    pub fn front(self) -> FrontId {
        FrontId((self.0 >> 32) as u32)
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:x}.{:x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Most supplementary groups that a worker is given. An account with more is refused.
pub const GROUPS_MAX: usize = 256;

/// An account as auth knows it: the user that a worker becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's name, as the source of accounts spells it: the name of its spool and state directory.
    pub name: UserName,
    /// Its user id. The monitor refuses ids outside of the configured range whatever auth says.
    pub uid: u32,
    /// Its primary group id.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: List<u32, GROUPS_MAX>,
    /// Its home directory, where the source knows one.
    pub home: Option<AbsolutePath>,
    /// Where its spool is, if not where `spool.path` says. The monitor checks it as it checks that.
    pub spool: Option<AbsolutePath>,
}
