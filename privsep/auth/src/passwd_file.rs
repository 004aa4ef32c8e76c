//! A password file in Dovecot's passwd-file syntax: `user:{SCHEME}hash:uid:gid:gecos:home:...`.

use crate::crypt;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use std::path::Path;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) scheme: Scheme,
    pub(crate) hash: String,
    pub(crate) account: Account,
}

/// How a password is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Whatever crypt(3) knows.
    Crypt,
    Argon2Id,
    /// For tests.
    Plain,
}

/// What stands in for the hash of somebody who does not exist, so that the answer takes as long (P9). Of no password.
const NOBODY: &str = "$6$popwardpopward$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// The line of `user`. `Err`: the file cannot be read, or that line is not as expected.
pub(crate) fn find(path: &Path, user: &UserName) -> Result<Option<Entry>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    for (number, line) in text.lines().enumerate() {
        if line.split(':').next() == Some(user.as_str()) {
            let entry =
                parse(line).map_err(|expected| format!("line {}: {expected}", number + 1))?;
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn parse(line: &str) -> Result<Entry, &'static str> {
    let mut fields = line.split(':');
    let mut next = || fields.next().unwrap_or_default();
    let name = UserName::try_from(next().to_owned()).map_err(|_| "expected an account name")?;
    let password = next();
    let uid = next()
        .parse()
        .map_err(|_| "expected a user id in the third field")?;
    let gid = next()
        .parse()
        .map_err(|_| "expected a group id in the fourth field")?;
    let _gecos = next();
    let home = next();
    let home = if home.is_empty() {
        None
    } else {
        Some(
            AbsolutePath::try_from(home.to_owned())
                .map_err(|_| "expected an absolute home directory")?,
        )
    };
    let (scheme, hash) = match password
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
    {
        None => (Scheme::Crypt, password),
        Some(("PLAIN", hash)) => (Scheme::Plain, hash),
        Some(("ARGON2ID", hash)) => (Scheme::Argon2Id, hash),
        Some(("CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "BLF-CRYPT", hash)) => {
            (Scheme::Crypt, hash)
        }
        Some(_) => {
            return Err(
                "expected a known scheme: CRYPT, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, ARGON2ID, PLAIN",
            );
        }
    };
    let groups = List::try_from(Vec::new()).map_err(|_| "groups")?;
    Ok(Entry {
        scheme,
        hash: hash.to_owned(),
        account: Account {
            name,
            uid,
            gid,
            groups,
            home,
        },
    })
}

/// Whether `secret` is the entry's. Without an entry it takes as long as a SHA512-CRYPT one, and is false.
pub(crate) fn verify(entry: Option<&Entry>, secret: &[u8]) -> bool {
    let Some(entry) = entry else {
        return crypt::verify(secret, NOBODY) && false;
    };
    if entry.hash.is_empty() {
        return false;
    }
    match entry.scheme {
        Scheme::Crypt => crypt::verify(secret, &entry.hash),
        Scheme::Plain => crypt::equal(secret, entry.hash.as_bytes()),
        Scheme::Argon2Id => {
            use argon2::password_hash::{PasswordHash, PasswordVerifier};
            PasswordHash::new(&entry.hash).is_ok_and(|hash| {
                argon2::Argon2::default()
                    .verify_password(secret, &hash)
                    .is_ok()
            })
        }
    }
}

#[cfg(test)]
mod tests;
