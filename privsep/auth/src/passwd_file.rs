//! A password file in Dovecot's passwd-file syntax: `user:{SCHEME}hash:uid:gid:gecos:home:...`. Empty uid and gid: a user
//! of the system, whose ids, groups and home NSS knows.

use crate::crypt;
use crate::verdict::Verdict;
use popward_proto::account::Account;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    stored: Stored,
    /// User and group id; without them it is a user of the system.
    ids: Option<(u32, u32)>,
    home: Option<AbsolutePath>,
}

/// A password as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored {
    /// Whatever crypt(3) knows.
    Crypt(String),
    Argon2(String),
    /// For tests.
    Plain(String),
}

/// What stands in for somebody who does not exist where the file has no usable line at all.
const NOBODY: &str = "$6$popwardpopward$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Whether `secret` is `user`'s, and whose ids it gives.
///
/// It takes as long for somebody who does not exist or is locked (P9): the whole file is read, and the password is
/// hashed as the file's first user's is.
pub(crate) fn check(path: &Path, user: &UserName, secret: &[u8]) -> Verdict {
    let (entry, first) = match find(path, user) {
        Ok(found) => found,
        Err(why) => return Verdict::Failed(format!("{}: {why}", path.display())),
    };
    let known = entry.as_ref().map(|entry| &entry.stored);
    let usable = known.filter(|stored| stored.is_usable());
    let nobody = || Stored::Crypt(NOBODY.to_owned());
    let right = match usable {
        Some(stored) => stored.verify(secret),
        None => first.unwrap_or_else(nobody).verify(secret),
    };
    match entry {
        None => Verdict::Refused("no such user".to_owned()),
        Some(_) if usable.is_none() => Verdict::Refused("locked".to_owned()),
        Some(_) if !right => Verdict::Refused("wrong password".to_owned()),
        Some(Entry {
            ids: Some((uid, gid)),
            home,
            ..
        }) => match List::try_from(Vec::new()) {
            Ok(groups) => Verdict::Granted(Account {
                name: user.clone(),
                uid,
                gid,
                groups,
                home,
            }),
            Err(error) => Verdict::Failed(error.to_string()),
        },
        Some(Entry { ids: None, .. }) => Verdict::granted_by_system(user.as_str()),
    }
}

/// The line of `user`, and what the first usable line stores.
fn find(path: &Path, user: &UserName) -> Result<(Option<Entry>, Option<Stored>), String> {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut line = Vec::new();
    let (mut found, mut first) = (None, None);
    for number in 1u64.. {
        line.clear();
        let read = file.read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        // The whole field: a name with a colon in it is nobody's.
        let name = text.split(|byte| *byte == b':').next();
        if name == Some(user.as_str().as_bytes()) && found.is_none() {
            let entry = parse(text).map_err(|expected| format!("line {number}: {expected}"))?;
            found = Some(entry);
        }
        if first.is_none() && !text.starts_with(b"#") {
            first = parse(text)
                .ok()
                .map(|entry| entry.stored)
                .filter(Stored::is_usable);
        }
    }
    Ok((found, first))
}

fn parse(line: &[u8]) -> Result<Entry, &'static str> {
    let mut fields = line.split(|byte| *byte == b':').skip(1);
    let mut next =
        || std::str::from_utf8(fields.next().unwrap_or_default()).map_err(|_| "expected UTF-8");
    let stored = Stored::parse(next()?)?;
    let ids = match (next()?, next()?) {
        ("", "") => None,
        (uid, gid) => Some((
            uid.parse()
                .map_err(|_| "expected a user id in the third field")?,
            gid.parse()
                .map_err(|_| "expected a group id in the fourth field")?,
        )),
    };
    // What a person is called may be in any encoding.
    fields.next();
    let home = match fields.next().unwrap_or_default() {
        [] => None,
        home => {
            let home = String::from_utf8(home.to_vec()).ok();
            let home = home.and_then(|home| AbsolutePath::try_from(home).ok());
            Some(home.ok_or("expected an absolute home directory")?)
        }
    };
    Ok(Entry { stored, ids, home })
}

impl Stored {
    fn parse(password: &str) -> Result<Self, &'static str> {
        let (scheme, hash) = password
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .unwrap_or(("CRYPT", password));
        let hash = hash.to_owned();
        match scheme.to_ascii_uppercase().as_str() {
            "CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "BLF-CRYPT" => Ok(Self::Crypt(hash)),
            "ARGON2ID" | "ARGON2I" => Ok(Self::Argon2(hash)),
            "PLAIN" => Ok(Self::Plain(hash)),
            _ => Err(
                "expected a known scheme: CRYPT, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, ARGON2ID, ARGON2I, PLAIN",
            ),
        }
    }

    /// Whether any password could be right: not for the marks by which accounts are locked.
    fn is_usable(&self) -> bool {
        match self {
            Self::Crypt(hash) => hash.starts_with('$'),
            Self::Argon2(hash) => hash.starts_with("$argon2"),
            Self::Plain(password) => !password.is_empty(),
        }
    }

    fn verify(&self, secret: &[u8]) -> bool {
        use argon2::password_hash::{PasswordHash, PasswordVerifier};
        match self {
            Self::Crypt(hash) => crypt::verify(secret, hash),
            Self::Plain(password) => crypt::equal(secret, password.as_bytes()),
            Self::Argon2(hash) => PasswordHash::new(hash).is_ok_and(|hash| {
                argon2::Argon2::default()
                    .verify_password(secret, &hash)
                    .is_ok()
            }),
        }
    }
}

#[cfg(test)]
mod tests;
