//! What holds for an account's sessions: what is configured for everybody, and for some accounts in
//! its place.

pub mod place;

use crate::account::Account;
use crate::account_selector::AccountSelector;
use crate::bounded::{List, Text};
use crate::pattern::Pattern;
use crate::sessions_worker::{HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};
use serde::{Deserialize, Serialize};

/// What holds for one account, or for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Its spool.
    pub spool: Spool,
    /// Most sessions at once, over all fronts.
    pub sessions_per_user: u32,
    /// Seconds from one login to the next; 0: any.
    pub login_delay_s: u32,
}

/// Where a spool is, how it is locked, and how its messages are named and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spool {
    /// Its last component is the spool's name.
    pub pattern: Pattern,
    /// The group that a worker has until its locks are taken.
    pub group: Option<u32>,
    /// Which locks.
    pub locks: LockSettings,
    /// The servers whose UIDLs the mail has that is there before a user's first session.
    pub adopt: List<Scheme, SCHEMES_MAX>,
    /// Header fields that are not shown.
    pub hide: List<Text<16>, HIDDEN_MAX>,
}

/// A table of the configuration: what it has holds for the accounts that it names, in place of what
/// holds for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Whom it is for.
    pub named: AccountSelector,
    /// The spool's pattern, and the group for dotlocks there.
    pub place: Option<(Pattern, Option<u32>)>,
    /// How long to try to lock, in milliseconds.
    pub lock_timeout_ms: Option<u32>,
    /// The servers whose UIDLs the mail has that is there before a user's first session.
    pub adopt: Option<List<Scheme, SCHEMES_MAX>>,
    /// Header fields that are not shown.
    pub hide: Option<List<Text<16>, HIDDEN_MAX>>,
    /// Most sessions at once.
    pub sessions_per_user: Option<u32>,
    /// Seconds from one login to the next.
    pub login_delay_s: Option<u32>,
}

impl Table {
    fn apply(&self, to: &mut Settings) {
        let spool = &mut to.spool;
        if let Some((pattern, group)) = &self.place {
            spool.pattern = pattern.clone();
            spool.group = *group;
        }
        put(self.lock_timeout_ms.as_ref(), &mut spool.locks.timeout_ms);
        put(self.adopt.as_ref(), &mut spool.adopt);
        put(self.hide.as_ref(), &mut spool.hide);
        put(self.sessions_per_user.as_ref(), &mut to.sessions_per_user);
        put(self.login_delay_s.as_ref(), &mut to.login_delay_s);
    }
}

fn put<T: Clone>(value: Option<&T>, to: &mut T) {
    if let Some(value) = value {
        *to = value.clone();
    }
}

/// What holds for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllSettings {
    /// For everybody.
    pub everybody: Settings,
    /// For some. For each key the first one counts that names the account and has the key.
    pub tables: Vec<Table>,
}

impl AllSettings {
    /// What holds for this account.
    pub fn of(&self, account: &Account) -> Settings {
        let mut own = self.everybody.clone();
        // What is put last stays: that of the first.
        let theirs = |table: &&Table| table.named.matches(account);
        for table in self.tables.iter().rev().filter(theirs) {
            table.apply(&mut own);
        }
        own
    }

    /// The longest login delay that an account can have, in seconds, and whether there are others.
    pub fn longest_login_delay(&self) -> (u32, bool) {
        let everybodys = self.everybody.login_delay_s;
        let some = self.tables.iter().filter_map(|table| table.login_delay_s);
        let differs = some.clone().any(|delay_s| delay_s != everybodys);
        (some.fold(everybodys, u32::max), differs)
    }
}

#[cfg(test)]
mod tests;
