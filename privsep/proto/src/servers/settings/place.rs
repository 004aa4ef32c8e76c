//! Finds the path of an account's spool. The account's source can name a path. Otherwise the path
//! comes from the configured pattern and the account's name and home directory.

use super::Spool;
use crate::account::Account;
use crate::bounded::{AbsolutePath, OutOfBounds, UserName};
use crate::pattern::{Part, Pattern};

/// Fills the account's name, domain and home directory into the pattern.
fn fill(pattern: &Pattern, account: &Account) -> Result<String, OutOfBounds> {
    let user = account.name.as_str();
    let (name, domain) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut path = String::new();
    for part in pattern.parts() {
        match part {
            Part::Literal(text) => path.push_str(text.as_str()),
            Part::User => path.push_str(user),
            Part::First => path.extend(user.chars().next()),
            Part::Second => path.extend(user.chars().take(2).last()),
            Part::Hash => path.push(hash(user)),
            Part::Name => path.push_str(name),
            // The domain comes from the client and usually names a directory. So it must obey the
            // same rules as an account's name. Otherwise a domain such as `..` could lead
            // elsewhere.
            Part::Domain => path.push_str(UserName::try_from(domain.to_owned())?.as_str()),
            Part::Home => {
                let home = account.home.as_ref();
                let home = home.ok_or(OutOfBounds("the account has no home directory"))?;
                path.push_str(String::from(home.clone()).trim_end_matches('/'));
            }
        }
    }
    Ok(path)
}

/// Returns a letter from `a` to `z`, chosen by the sum of the first five bytes of `user`. Qpopper's
/// `hash-spool 1` is the same.
fn hash(user: &str) -> char {
    let sum: u32 = user.bytes().take(5).map(u32::from).sum();
    char::from(b'a' + (sum % 26) as u8)
}

/// Returns the directory of an account's spool, and the spool's name in it.
///
/// # Errors
///
/// The pattern needs a home directory that the account does not have, or the path, the domain or
/// the spool's name is not permitted.
pub fn place(spool: &Spool, account: &Account) -> Result<(AbsolutePath, UserName), OutOfBounds> {
    let path = match &account.spool {
        Some(own) => String::from(own.clone()),
        None => fill(&spool.pattern, account)?,
    };
    let (directory, name) = path.rsplit_once('/').ok_or(OutOfBounds("no path"))?;
    let directory = if directory.is_empty() { "/" } else { directory };
    Ok((
        AbsolutePath::try_from(directory.to_owned())?,
        UserName::try_from(name.to_owned())?,
    ))
}

#[cfg(test)]
mod tests;
