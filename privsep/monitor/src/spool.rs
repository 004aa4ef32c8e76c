//! Where an account's spool is: the configured pattern with the account's name and home in it, or where the account's source
//! says.

use crate::config::Spool;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, OutOfBounds, UserName};

/// The directory of an account's spool and its name in it.
pub(crate) fn place(
    spool: &Spool,
    account: &Account,
) -> Result<(AbsolutePath, UserName), OutOfBounds> {
    let own = account.spool.clone().map(String::from);
    let mut path = own.unwrap_or_else(|| spool.pattern.replace("{user}", account.name.as_str()));
    if account.spool.is_none() && path.contains("{home}") {
        let home = account
            .home
            .as_ref()
            .ok_or(OutOfBounds("the account has no home directory"))?;
        path = path.replace("{home}", String::from(home.clone()).trim_end_matches('/'));
    }
    let (directory, name) = path.rsplit_once('/').ok_or(OutOfBounds("no path"))?;
    let directory = if directory.is_empty() { "/" } else { directory };
    Ok((
        AbsolutePath::try_from(directory.to_owned())?,
        UserName::try_from(name.to_owned())?,
    ))
}
