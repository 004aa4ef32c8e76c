//! A selection of accounts, as tables of the configuration make it.

use crate::account::Account;
use crate::bounded::{List, UserName};
use serde::{Deserialize, Serialize};

/// Most tables of the configuration that name accounts.
pub const TABLES_MAX: usize = 64;

/// Most users in one such table.
pub const SELECTOR_USERS_MAX: usize = 64;

/// Most groups in one such table.
pub const SELECTOR_GROUPS_MAX: usize = 16;

/// A selection of accounts, by name or by group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSelector {
    /// The accounts with these names.
    pub users: List<UserName, SELECTOR_USERS_MAX>,
    /// The accounts in one of these groups, primary or supplementary.
    pub groups: List<u32, SELECTOR_GROUPS_MAX>,
}

impl AccountSelector {
    /// Whether the account is selected.
    pub fn matches(&self, account: &Account) -> bool {
        let groups = account.groups.as_slice();
        let in_group = |gid| groups.contains(gid) || *gid == account.gid;
        self.users.as_slice().contains(&account.name) || self.groups.as_slice().iter().any(in_group)
    }
}
