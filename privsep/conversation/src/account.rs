//! The account of a user of the system, from NSS.

use popward_proto::account::{Account, GROUPS_MAX};
use popward_proto::auth_conversation::ConversationToAuth;
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};

/// Why NSS gave no account. The texts are for the log: a client never sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAccount {
    /// There is no such user.
    Refused(String),
    /// NSS failed, or the user has too many groups.
    Failed(String),
}

/// The account of the system user `name`, from NSS, with the groups that a login would give it.
///
/// # Errors
///
/// `Refused` if there is no such user. `Failed` if NSS fails, or if the user has too many groups.
pub fn of_system(name: &str) -> Result<Account, NoAccount> {
    match look_up(name) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(NoAccount::Refused("no such user of this system".to_owned())),
        Err(why) => Err(NoAccount::Failed(why)),
    }
}

fn look_up(name: &str) -> Result<Option<Account>, String> {
    let user = nix::unistd::User::from_name(name).map_err(|errno| format!("NSS: {errno}"))?;
    let Some(user) = user else {
        return Ok(None);
    };
    let c_name = std::ffi::CString::new(user.name.as_str()).map_err(|error| error.to_string())?;
    let groups: Vec<u32> = nix::unistd::getgrouplist(&c_name, user.gid)
        .map_err(|errno| format!("NSS, groups: {errno}"))?
        .into_iter()
        .map(nix::unistd::Gid::as_raw)
        .filter(|gid| *gid != user.gid.as_raw())
        .collect();
    let home = user.dir.to_str().map(str::to_owned);
    Ok(Some(Account {
        name: UserName::try_from(user.name).map_err(|error| error.to_string())?,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: List::try_from(groups).map_err(|_| format!("more than {GROUPS_MAX} groups"))?,
        home: home.and_then(|home| AbsolutePath::try_from(home).ok()),
        spool: None,
    }))
}

/// The answer to auth about an account.
pub fn answer(account: Result<Account, NoAccount>) -> ConversationToAuth {
    match account {
        Ok(account) => ConversationToAuth::Granted(account),
        Err(NoAccount::Refused(why)) => ConversationToAuth::Refused(Text::truncated(&why)),
        Err(NoAccount::Failed(why)) => ConversationToAuth::Failed(Text::truncated(&why)),
    }
}
