//! An account, as auth grants it, and the numbers of sessions. A worker knows only its own session.

use super::{FrontId, GROUPS_MAX, SessionId};
use crate::bounded::{AbsolutePath, List, UserName};
use serde::{Deserialize, Serialize};

/// An account from auth: the user that a worker becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's name in the spelling of the account source. Its spool and its state directory
    /// have this name.
    pub name: UserName,
    /// Its user id. The monitor refuses an id outside the configured range, whatever auth says.
    pub uid: u32,
    /// Its primary group id.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: List<u32, GROUPS_MAX>,
    /// Its home directory, if the source knows one.
    pub home: Option<AbsolutePath>,
    /// Its spool, if the source names one. `None`: the spool that `spool.path` names. The monitor
    /// checks both in the same way.
    pub spool: Option<AbsolutePath>,
}

impl SessionId {
    /// The session with number `count` of `front`.
    pub fn new(front: FrontId, count: u32) -> Self {
        Self(u64::from(front.0) << 32 | u64::from(count))
    }

    /// The front of this session.
    pub fn front(self) -> FrontId {
        FrontId((self.0 >> 32) as u32)
    }
}
