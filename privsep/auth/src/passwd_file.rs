//! A password file in Dovecot's passwd-file syntax:
//! `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`.
//!
//! A line without user and group id is for a system user: ids, groups and home come from NSS.

mod extra;

use crate::account::{NotGranted, of_system};
use crate::stored::{Stored, scram};
use crate::trusted_file;
use extra::Extra;
use popward_proto::account::Account;
use popward_proto::auth::ScramHash;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;

/// The name of the line that stands in for users who are not in the file. No user can have this
/// name, because a user's name cannot begin with a dot.
const STAND_IN: &[u8] = b".stand-in";

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The password.
    pub(crate) stored: Stored,
    /// User and group id. `None` for a system user.
    ids: Option<(u32, u32)>,
    home: Option<AbsolutePath>,
    extra: Extra,
}

/// Why a name has no entry.
#[derive(Debug)]
pub(crate) enum NoEntry {
    /// The file has no line for the name.
    NoLine,
    /// The name's line has an error. The text says which, for the log.
    Unusable(String),
}

impl From<NoEntry> for NotGranted {
    fn from(none: NoEntry) -> Self {
        match none {
            NoEntry::NoLine => Self::Refused("no such user".to_owned()),
            NoEntry::Unusable(why) => Self::Unusable(why),
        }
    }
}

/// What the file says about a name, and what it gives to check a missing name against.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The name's line.
    pub(crate) entry: Result<Entry, NoEntry>,
    /// The stored password that a check uses for a user without one (P9): that of the stand-in
    /// line, or of the first usable line.
    pub(crate) stand_in: Stored,
    /// The SCRAM parameters that a challenge shows for a name without keys: those of the stand-in
    /// line, or of the first line that has keys for this hash.
    pub(crate) parameters: Option<scram::Parameters>,
    /// The key of made-up salts. `None` if the file has no stand-in line with SCRAM keys.
    pub(crate) key: Option<[u8; 32]>,
}

impl Entry {
    /// The account of `user`, whose credentials are right.
    ///
    /// # Errors
    ///
    /// `Refused` if an extra field forbids logins, or logins from `peer`. `Failed` if NSS fails,
    /// or if the line's spool cannot be used.
    pub(crate) fn grant(self, user: &UserName, peer: IpAddr) -> Result<Account, NotGranted> {
        if let Err(why) = self.extra.admit(peer) {
            return Err(NotGranted::Refused(why.to_owned()));
        }
        let mut account = match self.ids {
            None => of_system(user.as_str())?,
            Some((uid, gid)) => Account {
                name: user.clone(),
                uid,
                gid,
                groups: List::default(),
                home: self.home.clone(),
                spool: None,
            },
        };
        // For a system user too, the file's home takes the place of the system's.
        account.home = self.home.or(account.home);
        match self.extra.spool(&account) {
            Ok(spool) => Ok(Account { spool, ..account }),
            Err(why) => Err(NotGranted::Failed(format!("{user}: {why}"))),
        }
    }
}

/// Looks `user` up in the file at `path`. `hash` is the hash function if the mechanism is SCRAM.
///
/// It reads the whole file even after it has found the line, so that the time does not tell whether
/// or where a user stands in the file (P9).
///
/// # Errors
///
/// A text for the log: the file cannot be read, or others than root and auth can write it.
pub(crate) fn find(
    path: &Path,
    user: &UserName,
    hash: Option<ScramHash>,
) -> Result<Lookup, String> {
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
        // Names are compared with the whole field. So a name with a colon matches no line.
        let name = text.split(|byte| *byte == b':').next();
        if name == Some(user.as_str().as_bytes()) && entry.is_none() {
            entry = Some(parse(text).map_err(|expected| unusable(number, expected)));
        }
        if first.is_none()
            || name == Some(STAND_IN)
            || (hash.is_some() && parameters.is_none() && has_scram_keys(text))
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
    Ok(Lookup {
        entry: entry.unwrap_or(Err(NoEntry::NoLine)),
        stand_in: stand_in.or(first).unwrap_or_else(Stored::nobody),
        parameters,
        key,
    })
}

/// Whether the line's second field begins with `{SCRAM`. Most lines need not be parsed then.
fn has_scram_keys(line: &[u8]) -> bool {
    let field = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    let start = field.get(..6);
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"{SCRAM"))
}

/// Most wrong lines that the log names.
const NAMED_MAX: usize = 10;

/// The file's lines that let nobody in because they have an error. Returns what was expected in each
/// of the first [`NAMED_MAX`], and the number of the others.
///
/// # Errors
///
/// The file cannot be read, or others than root and auth can write it.
pub(crate) fn bad_lines(path: &Path) -> Result<(Vec<String>, usize), String> {
    let mut file = BufReader::new(trusted_file::open(path)?);
    let (mut bad, mut more, mut line) = (Vec::new(), 0, Vec::new());
    for number in 1u64.. {
        line.clear();
        let read = file.read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        if let Err(expected) = check_name(text).and_then(|()| parse(text).map(drop)) {
            if bad.len() < NAMED_MAX {
                bad.push(format!("{}:{number}: {expected}", path.display()));
            } else {
                more += 1;
            }
        }
    }
    Ok((bad, more))
}

/// Checks that a line begins with a name that a user can have, or with the stand-in's.
fn check_name(line: &[u8]) -> Result<(), String> {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let user = std::str::from_utf8(name).map(|name| UserName::try_from(name.to_owned()).is_ok());
    if name == STAND_IN || user == Ok(true) {
        Ok(())
    } else {
        Err("expected the name of a user in the first field".to_owned())
    }
}

/// The stored password of a line: its second field.
fn password(line: &[u8]) -> Result<Stored, &'static str> {
    let field = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    Stored::parse(field)
}

/// Parses a line, except for its name. `Err` says what was expected.
fn parse(line: &[u8]) -> Result<Entry, String> {
    let stored = password(line)?;
    // The eighth field, the extra fields, may itself contain colons.
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
    // The gecos field (a person's name) is skipped. It may be in any encoding.
    next();
    let home = match next() {
        [] => None,
        home => {
            let home = String::from_utf8(home.to_vec()).ok();
            let home = home.and_then(|home| AbsolutePath::try_from(home).ok());
            Some(home.ok_or("expected an absolute home directory")?)
        }
    };
    // The shell.
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
