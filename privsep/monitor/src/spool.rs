//! Where an account's spool is: the configured pattern with what is known of the account in it, or where the account's source
//! says.

use crate::config::settings::Spool;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, OutOfBounds, UserName};

/// A path with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

/// A piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// As it is.
    Literal(String),
    /// `{user}`: the account's name.
    User,
    /// `{user:1}`, `{user:2}`: its first or second character, or of a single one that (Qpopper's hash-spool 2).
    Character(usize),
    /// `{user:hash}`: a letter for its first five bytes (Qpopper's hash-spool 1).
    Hash,
    /// `{name}`: what stands before its last `@`, or all of it.
    Name,
    /// `{domain}`: what stands behind that.
    Domain,
    /// `{home}`: its home directory.
    Home,
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "user" => Self::User,
            "user:1" => Self::Character(0),
            "user:2" => Self::Character(1),
            "user:hash" => Self::Hash,
            "name" => Self::Name,
            "domain" => Self::Domain,
            "home" => Self::Home,
            _ => return None,
        })
    }
}

impl Pattern {
    /// Reads one. `None`: it is none, or all accounts would have one spool.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::named(name)?);
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        parts.retain(|part| *part != Part::Literal(String::new()));
        let literals = parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text),
            _ => None,
        });
        let whole = |part: &Part| matches!(part, Part::User | Part::Name | Part::Home);
        let begins = match parts.first()? {
            Part::Literal(text) => text.starts_with('/'),
            first => *first == Part::Home,
        };
        let good = begins
            && !literals.clone().any(|text| text.contains('}'))
            && !text.ends_with('/')
            && parts.iter().any(whole);
        good.then_some(Self(parts))
    }

    /// The directory above everything that differs between accounts.
    pub(crate) fn base(&self) -> Option<&str> {
        let Some(Part::Literal(text)) = self.0.first() else {
            return None;
        };
        text.rsplit_once('/').map(|(directory, _)| directory)
    }

    fn fill(&self, account: &Account) -> Result<String, OutOfBounds> {
        let user = account.name.as_str();
        let (name, domain) = user.rsplit_once('@').unwrap_or((user, ""));
        let mut path = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::User => path.push_str(user),
                Part::Character(place) => path.extend(user.chars().take(place + 1).last()),
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
        None => spool.pattern.fill(account)?,
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
