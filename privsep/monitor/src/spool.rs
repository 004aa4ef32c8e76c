//! Where an account's spool is: the configured pattern with what is known of the account in it, or where the account's source
//! says.

use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, OutOfBounds, UserName};
use popward_proto::pattern::{Part, Pattern};
use popward_proto::settings::Spool;

/// The pattern with what is known of the account in it.
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
            // It is a directory's name, mostly: of that, more must not be possible than of an account's.
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

/// `a` to `z`, by the sum of the first five bytes.
fn hash(user: &str) -> char {
    let sum: u32 = user.bytes().take(5).map(u32::from).sum();
    char::from(b'a' + (sum % 26) as u8)
}

/// The directory of an account's spool and its name in it.
pub(crate) fn place(
    spool: &Spool,
    account: &Account,
) -> Result<(AbsolutePath, UserName), OutOfBounds> {
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
