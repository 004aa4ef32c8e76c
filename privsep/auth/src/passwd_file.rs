//! A password file in Dovecot's passwd-file syntax: `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`. Empty uid and
//! gid: a user of the system, whose ids, groups and home NSS knows.

mod extra;

use crate::stored::{Stored, scram};
use crate::trusted_file;
use crate::verdict::Verdict;
use extra::Extra;
use popward_proto::account::Account;
use popward_proto::auth::ScramHash;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;

/// The name of a line that stands in for whoever is not in the file. No user can be called so.
const STAND_IN: &[u8] = b".stand-in";

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The password.
    pub(crate) stored: Stored,
    /// User and group id; without them it is a user of the system.
    ids: Option<(u32, u32)>,
    home: Option<AbsolutePath>,
    extra: Extra,
}

/// Why a name has no entry.
#[derive(Debug)]
pub(crate) enum NoEntry {
    /// There is no line for it.
    NoLine,
    /// Its line is not as it must be, for the log.
    Unusable(String),
}

impl NoEntry {
    /// What a login by this name comes to.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Self::NoLine => Verdict::Refused("no such user".to_owned()),
            Self::Unusable(why) => Verdict::Unusable(why),
        }
    }
}

/// What the file says about a name, and about names that it does not have.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name's line.
    pub(crate) entry: Result<Entry, NoEntry>,
    /// What a password is held against for somebody who has none: the stand-in's, or the first usable line's.
    pub(crate) like: Stored,
    /// How keys are made for SCRAM: the stand-in's, or the first line's that has some.
    pub(crate) parameters: Option<scram::Parameters>,
    /// The key of salts that are made up, where the stand-in gives one.
    pub(crate) key: Option<[u8; 32]>,
}

impl Entry {
    /// The account of `user`, who has proved to be it, and whether it may log in from `peer`.
    pub(crate) fn grant(self, user: &UserName, peer: IpAddr) -> Verdict {
        if let Err(why) = self.extra.admit(peer) {
            return Verdict::Refused(why.to_owned());
        }
        let verdict = match self.ids {
            None => Verdict::granted_by_system(user.as_str()),
            Some((uid, gid)) => match List::try_from(Vec::new()) {
                Ok(groups) => Verdict::Granted(Account {
                    name: user.clone(),
                    uid,
                    gid,
                    groups,
                    home: self.home.clone(),
                    spool: None,
                }),
                Err(error) => Verdict::Failed(error.to_string()),
            },
        };
        let Verdict::Granted(mut account) = verdict else {
            return verdict;
        };
        // The file's home counts for a user of the system too.
        account.home = self.home.or(account.home);
        match self.extra.spool(&account) {
            Ok(spool) => Verdict::Granted(Account { spool, ..account }),
            Err(why) => Verdict::Failed(format!("{user}: {why}")),
        }
    }
}

/// Reads the whole file, whoever is looked for (P9). `hash` is asked for where it is SCRAM's turn.
pub(crate) fn find(path: &Path, user: &UserName, hash: Option<ScramHash>) -> Result<Found, String> {
    let mut file = BufReader::new(trusted_file::open(path)?);
    let mut line = Vec::new();
    let (mut entry, mut first, mut stand_in, mut parameters) = (None, None, None, None);
    let unusable = |number: u64, expected: String| {
        NoEntry::Unusable(format!("{}: line {number}: {expected}", path.display()))
    };
    for number in 1u64.. {
        line.clear();
        let read = file.read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        if text.starts_with(b"#") {
            continue;
        }
        // The whole field: a name with a colon in it is nobody's.
        let name = text.split(|byte| *byte == b':').next();
        if name == Some(user.as_str().as_bytes()) && entry.is_none() {
            entry = Some(parse(text).map_err(|expected| unusable(number, expected)));
        }
        let keyed = || {
            text.get(name.map_or(0, <[u8]>::len)..).is_some_and(|rest| {
                rest.get(..7)
                    .is_some_and(|start| start.eq_ignore_ascii_case(b":{SCRAM"))
            })
        };
        if first.is_none()
            || name == Some(STAND_IN)
            || (hash.is_some() && parameters.is_none() && keyed())
        {
            let stored = password(text).ok().filter(Stored::is_usable);
            if let (Some(Stored::Scram(own, keys)), None) = (&stored, &parameters) {
                parameters = (Some(*own) == hash).then(|| keys.parameters.clone());
            }
            match stored {
                Some(stored) if name == Some(STAND_IN) => stand_in = Some(stored),
                stored => first = first.or(stored),
            }
        }
    }
    let key = match &stand_in {
        Some(Stored::Scram(own, keys)) => {
            parameters = (Some(*own) == hash)
                .then(|| keys.parameters.clone())
                .or(parameters);
            Some(keys.key())
        }
        _ => None,
    };
    Ok(Found {
        entry: entry.unwrap_or(Err(NoEntry::NoLine)),
        like: stand_in.or(first).unwrap_or_else(Stored::nobody),
        parameters,
        key,
    })
}

/// The stored password of a line.
fn password(line: &[u8]) -> Result<Stored, &'static str> {
    let field = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    Stored::parse(field)
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    let stored = password(line)?;
    // What the eighth field has may have colons in it.
    let mut fields = line.splitn(8, |byte| *byte == b':').skip(2);
    let mut next = || fields.next().unwrap_or_default();
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let ids = match (next(), next()) {
        ([], []) => None,
        (uid, gid) => Some((
            number(uid).ok_or("expected a user id in the third field")?,
            number(gid).ok_or("expected a group id in the fourth field")?,
        )),
    };
    // What a person is called may be in any encoding.
    next();
    let home = match next() {
        [] => None,
        home => {
            let home = String::from_utf8(home.to_vec()).ok();
            let home = home.and_then(|home| AbsolutePath::try_from(home).ok());
            Some(home.ok_or("expected an absolute home directory")?)
        }
    };
    next();
    Ok(Entry {
        stored,
        ids,
        home,
        extra: Extra::parse(next())?,
    })
}

#[cfg(test)]
mod tests;
