//! What a check came to.

use crate::check::ScramExchange;
use popward_proto::account::{Account, GROUPS_MAX};
use popward_proto::bounded::{AbsolutePath, List, UserName};

/// What a check came to. The reasons are for the log; a client hears the same words for all that are refused.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The credentials are this account's.
    Granted(Account),
    /// They are this user's, whose account is to be looked for.
    Identified(UserName),
    /// Not known before the client has proved something: SCRAM's first message, and what its second is held against.
    Challenge(String, Box<ScramExchange>),
    /// The proof is this account's, and the client is owed the server's.
    Proved(Vec<u8>, Account),
    /// They are nobody's, or of somebody who may not log in.
    Refused(String),
    /// They are of somebody whose entry in the source of accounts cannot be used. The operator hears of it, and the client what
    /// all hear who are refused: that something is amiss would tell that there is such a user (P9).
    Unusable(String),
    /// It could not be found out.
    Failed(String),
}

impl Verdict {
    /// Grants `name` as the account that the system's own sources (NSS) know.
    pub(crate) fn granted_by_system(name: &str) -> Self {
        match system_account(name) {
            Ok(Some(account)) => Self::Granted(account),
            Ok(None) => Self::Refused("no such user of this system".to_owned()),
            Err(why) => Self::Failed(why),
        }
    }
}

/// The account of a system user, with the groups that a login would give it.
fn system_account(name: &str) -> Result<Option<Account>, String> {
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
