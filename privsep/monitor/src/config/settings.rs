//! What holds for an account's sessions: what is configured for everybody, and for some accounts in its place. Nothing here
//! looks at a file or at the system.

use crate::spool::Pattern;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, List, Text};
use popward_proto::monitor_auth::{AccountSelector, MonitorToAuth};
use popward_proto::monitor_worker::{self as proto, HIDDEN_MAX, LockSettings, SCHEMES_MAX, Scheme};

/// What holds for one account, or for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Its spool.
    pub(crate) spool: Spool,
    /// Messages that are in nobody's spool.
    pub(crate) bulletins: Bulletins,
    /// Most sessions at once, over all fronts.
    pub(crate) sessions_per_user: u32,
    /// Seconds from one login to the next; 0: any.
    pub(crate) login_delay_s: u32,
}

/// Where a spool is, how it is locked, and how its messages are named and shown.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    /// Its last component is the spool's name.
    pub(crate) pattern: Pattern,
    /// The group that a worker has until its locks are taken.
    pub(crate) group: Option<u32>,
    /// Which locks.
    pub(crate) locks: LockSettings,
    /// How messages are named.
    pub(crate) uidl: List<Scheme, SCHEMES_MAX>,
    /// Header fields that are not shown.
    pub(crate) hide: List<Text<16>, HIDDEN_MAX>,
}

/// Which bulletins are shown.
#[derive(Debug, Clone)]
pub(crate) struct Bulletins {
    /// Where they are; `None`: none are.
    pub(crate) directory: Option<AbsolutePath>,
    /// How many a new user is shown.
    pub(crate) keep: u16,
    /// And how old they may be, in days.
    pub(crate) days: Option<u16>,
}

impl Bulletins {
    /// As a worker is told.
    pub(crate) fn shown(&self) -> Option<proto::Bulletins> {
        let (keep, days) = (self.keep, self.days);
        self.directory.clone().map(|directory| proto::Bulletins {
            directory,
            keep,
            days,
        })
    }
}

/// What is to be in the place of something that need not be there.
#[derive(Debug, Clone)]
pub(crate) enum Instead<T> {
    /// This.
    This(T),
    /// None of it.
    Nothing,
}

impl<T: Clone> Instead<T> {
    fn value(&self) -> Option<T> {
        match self {
            Self::This(value) => Some(value.clone()),
            Self::Nothing => None,
        }
    }
}

impl<T> From<Option<T>> for Instead<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Self::This)
    }
}

/// A table of the configuration: what it has holds for the accounts that it names, in place of what holds for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Whom it is for.
    pub(crate) named: AccountSelector,
    /// The spool's pattern, and the group for dotlocks there.
    pub(crate) place: Option<(Pattern, Option<u32>)>,
    /// How long to try to lock, in milliseconds.
    pub(crate) lock_timeout_ms: Option<u32>,
    /// After how many silent milliseconds the locks are given up, or that they are not.
    pub(crate) yield_ms: Option<Instead<u32>>,
    /// How messages are named.
    pub(crate) uidl: Option<List<Scheme, SCHEMES_MAX>>,
    /// Header fields that are not shown.
    pub(crate) hide: Option<List<Text<16>, HIDDEN_MAX>>,
    /// Where bulletins are, or that there are none.
    pub(crate) bulletins: Option<Instead<AbsolutePath>>,
    /// How many of them a new user is shown.
    pub(crate) keep: Option<u16>,
    /// And how old they may be, in days.
    pub(crate) days: Option<u16>,
    /// Most sessions at once.
    pub(crate) sessions_per_user: Option<u32>,
    /// Seconds from one login to the next.
    pub(crate) login_delay_s: Option<u32>,
}

impl Table {
    fn apply(&self, to: &mut Settings) {
        let spool = &mut to.spool;
        if let Some((pattern, group)) = &self.place {
            spool.pattern = pattern.clone();
            spool.group = *group;
        }
        put(self.lock_timeout_ms.as_ref(), &mut spool.locks.timeout_ms);
        put(self.uidl.as_ref(), &mut spool.uidl);
        put(self.hide.as_ref(), &mut spool.hide);
        if let Some(instead) = &self.yield_ms {
            spool.locks.yield_ms = instead.value();
        }
        let bulletins = &mut to.bulletins;
        if let Some(instead) = &self.bulletins {
            bulletins.directory = instead.value();
        }
        put(self.keep.as_ref(), &mut bulletins.keep);
        bulletins.days = self.days.or(bulletins.days);
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
#[derive(Debug, Clone)]
pub(crate) struct AllSettings {
    /// For everybody.
    pub(crate) everybody: Settings,
    /// For some. For each key the first one counts that names the account and has the key.
    pub(crate) tables: Vec<Table>,
}

impl AllSettings {
    /// What holds for this account.
    pub(crate) fn of(&self, account: &Account) -> Settings {
        let mut own = self.everybody.clone();
        // What is put last stays: that of the first.
        let theirs = |table: &&Table| table.named.matches(account);
        for table in self.tables.iter().rev().filter(theirs) {
            table.apply(&mut own);
        }
        own
    }

    /// What auth is told of login delays that are not everybody's.
    pub(crate) fn login_delays(&self) -> impl Iterator<Item = MonitorToAuth> + '_ {
        self.tables.iter().filter_map(|table| {
            let delay_s = table.login_delay_s?;
            Some(MonitorToAuth::LoginDelay(table.named.clone(), delay_s))
        })
    }

    /// The longest login delay that an account can have, in seconds, and whether there are others.
    pub(super) fn longest_login_delay(&self) -> (u32, bool) {
        let everybodys = self.everybody.login_delay_s;
        let some = self.tables.iter().filter_map(|table| table.login_delay_s);
        let differs = some.clone().any(|delay_s| delay_s != everybodys);
        (some.fold(everybodys, u32::max), differs)
    }
}

#[cfg(test)]
mod tests;
