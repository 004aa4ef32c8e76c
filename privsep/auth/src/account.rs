//! Whose account a login is for: what the client claims, the account that the system knows, and
//! why there is none.

use popward_proto::account::{Account, GROUPS_MAX};
use popward_proto::bounded::{AbsolutePath, List, UserName};
use std::net::IpAddr;

/// The user whom a client claims to be.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The name after the configured changes (lower case, domains cut off).
    pub(crate) user: UserName,
    /// The client's address.
    pub(crate) peer: IpAddr,
}

/// Why a check gave no account. The texts are for the log: a client never sees them.
#[derive(Debug)]
pub(crate) enum NotGranted {
    /// The credentials are wrong, or the user may not log in.
    Refused(String),
    /// The user's entry in the source of accounts cannot be used. The log tells the operator. The
    /// client gets the same answer as for a wrong password, because another answer would tell that
    /// the user exists (P9).
    Unusable(String),
    /// The check itself failed, so nothing is known about the credentials.
    Failed(String),
}

/// The account of the system user `name`, from NSS, with the groups that a login would give it.
///
/// # Errors
///
/// `Refused` if there is no such user. `Failed` if NSS fails, or if the user has too many groups.
pub(crate) fn of_system(name: &str) -> Result<Account, NotGranted> {
    match look_up(name) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(NotGranted::Refused(
            "no such user of this system".to_owned(),
        )),
        Err(why) => Err(NotGranted::Failed(why)),
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
