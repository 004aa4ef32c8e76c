//! A password file in Dovecot's passwd-file syntax:
//! `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`.
//!
//! A line without user and group id is for a system user: ids, groups and home come from NSS.

mod extra;
mod lines;
mod stand_in;

use crate::account::{NotGranted, of_system};
use crate::stored::{Stored, scram};
use crate::trusted_file;
use extra::Extra;
use lines::{LINE_MAX, Line, Lines};
use popward_proto::account::Account;
use popward_proto::auth::ScramHash;
use popward_proto::bounded::{AbsolutePath, List, UserName};
use stand_in::{Best, Scores};
use std::net::IpAddr;
use std::path::Path;

/// The name of the line whose SCRAM keys are a key for what users who are not in the file look
/// like. No user can have this name, because a user's name cannot begin with a dot.
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
    /// The stored passwords that a check uses for a user without one, the first if it can (P9).
    /// They are those of usable lines, and the same for a name at each look-up.
    pub(crate) stand_ins: Vec<Stored>,
    /// If the mechanism is SCRAM: what a user without a secret for it looks like. This is what
    /// another user has: keys for this hash, or a password. `None` if no user has either.
    pub(crate) scram: Option<Stored>,
    /// The SCRAM parameters of users whose password is in the file: those of the stand-in line, or
    /// the usual ones.
    pub(crate) of_passwords: scram::Parameters,
    /// The key of made-up salts: the stand-in line's, or the one that the caller gave.
    pub(crate) key: [u8; 32],
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
        self.account(user)
    }

    /// The account of `user`, whether or not the user may log in.
    ///
    /// # Errors
    ///
    /// NSS fails or does not know the user, or the line's spool cannot be used.
    pub(crate) fn account(self, user: &UserName) -> Result<Account, NotGranted> {
        let mut account = match self.ids {
            None => of_system(user)?,
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
/// `key` chooses the lines that stand in for a missing user, unless the file has a stand-in line
/// with SCRAM keys. Such a line gives a key that lasts.
///
/// It reads the whole file even after it has found the line, so that the time does not tell whether
/// or where a user stands in the file (P9).
///
/// # Errors
///
/// A text for the log: the file cannot be read, or others than root can write it.
pub(crate) fn find(
    path: &Path,
    user: &UserName,
    hash: Option<ScramHash>,
    key: &[u8; 32],
) -> Result<Lookup, String> {
    let mut lines = Lines::new(trusted_file::open(path)?);
    let mut search = Search::new(user, hash, *key);
    let mut stand_in = None;
    while let Some(line) = lines.next().map_err(|error| error.to_string())? {
        if name(line.text) != STAND_IN {
            search.look_at(&line, path);
        } else if stand_in.is_none() {
            let stored = password(line.text).unwrap_or_else(|_| Stored::nobody());
            if let Stored::Scram(_, keys) = &stored {
                // The lines before have been scored with another key. The restart happens once.
                search = Search::new(user, hash, keys.key());
                lines.rewind().map_err(|error| error.to_string())?;
            }
            stand_in = Some(stored);
        }
    }
    Ok(search.end(stand_in))
}

/// One look-up, as far as it has come.
struct Search<'u> {
    user: &'u UserName,
    hash: Option<ScramHash>,
    key: [u8; 32],
    scores: Scores,
    entry: Option<Result<Entry, NoEntry>>,
    /// The best of all usable lines.
    usable: Best,
    /// The best of those with which a user can log in by this SCRAM mechanism.
    scram: Best,
}

impl<'u> Search<'u> {
    fn new(user: &'u UserName, hash: Option<ScramHash>, key: [u8; 32]) -> Self {
        Self {
            user,
            hash,
            key,
            scores: Scores::new(&key, user),
            entry: None,
            usable: Best::default(),
            scram: Best::default(),
        }
    }

    /// Takes from a line what this look-up needs. `path` is for errors.
    fn look_at(&mut self, line: &Line<'_>, path: &Path) {
        let text = line.text;
        if text.is_empty() || text.starts_with(b"#") {
            return;
        }
        // Names are compared with the whole field. So a name with a colon matches no line.
        let name = name(text);
        if name == self.user.as_str().as_bytes() && self.entry.is_none() {
            self.entry = Some(parse_line(line).map_err(|expected| {
                NoEntry::Unusable(format!(
                    "{}: line {}: {expected}",
                    path.display(),
                    line.number
                ))
            }));
        }
        let usable = || {
            let entry = parse_line(line).and_then(|entry| check_name(text).map(|()| entry));
            entry
                .ok()
                .map(|entry| entry.stored)
                .filter(Stored::is_usable)
        };
        let score = self.scores.of(name);
        self.usable.offer(score, usable);
        let secret = text.get(name.len() + 1..).unwrap_or_default();
        if let Some(hash) = self.hash.filter(|_| may_log_in_by_scram(secret)) {
            let fits = |stored: &Stored| stored.fits_scram(hash);
            self.scram.offer(score, || usable().filter(fits));
        }
    }

    /// The result. `stand_in` is what the stand-in line stores.
    fn end(self, stand_in: Option<Stored>) -> Lookup {
        let of_passwords = match &stand_in {
            Some(Stored::Scram(own, keys)) if Some(*own) == self.hash => keys.parameters.clone(),
            _ => scram::Parameters::usual(),
        };
        let mut stand_ins = self.usable.into_stored();
        // It has the cost of no user. So it counts only if there is no user's.
        stand_ins.extend(stand_in);
        Lookup {
            entry: self.entry.unwrap_or(Err(NoEntry::NoLine)),
            stand_ins,
            scram: self.scram.into_stored().into_iter().next(),
            of_passwords,
            key: self.key,
        }
    }
}

/// A line's first field.
fn name(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// Whether a line's text behind its first colon begins like SCRAM keys or a password. Most lines
/// need not be parsed then, not even up to the second colon.
fn may_log_in_by_scram(secret: &[u8]) -> bool {
    let begins = |scheme: &[u8]| {
        let start = secret.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins(b"{SCRAM") || begins(b"{PLAIN") || begins(b"{CLEAR")
}

/// Most wrong lines that the log names.
const NAMED_MAX: usize = 10;

/// The file's lines that let nobody in because they have an error. Returns what was expected in
/// each of the first [`NAMED_MAX`], and the number of the others.
///
/// # Errors
///
/// The file cannot be read, or others than root and auth can write it.
pub(crate) fn bad_lines(path: &Path) -> Result<(Vec<String>, usize), String> {
    let mut lines = Lines::new(trusted_file::open(path)?);
    let (mut bad, mut more) = (Vec::new(), 0);
    while let Some(line) = lines.next().map_err(|error| error.to_string())? {
        if line.text.is_empty() || line.text.starts_with(b"#") {
            continue;
        }
        if let Err(expected) = check_name(line.text).and_then(|()| parse_line(&line).map(drop)) {
            if bad.len() < NAMED_MAX {
                bad.push(format!("{}:{}: {expected}", path.display(), line.number));
            } else {
                more += 1;
            }
        }
    }
    Ok((bad, more))
}

/// The name of each usable line, one in each line.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn names(path: &Path) -> Result<String, String> {
    let mut lines = Lines::new(trusted_file::open(path)?);
    let mut names = String::new();
    while let Some(line) = lines.next().map_err(|error| error.to_string())? {
        let is_comment = line.text.is_empty() || line.text.starts_with(b"#");
        if is_comment || check_name(line.text).is_err() || parse_line(&line).is_err() {
            continue;
        }
        names += &String::from_utf8_lossy(name(line.text));
        names.push('\n');
    }
    Ok(names)
}

/// Whether a line is for a system user, or the file cannot be read now.
pub(crate) fn names_system_users(path: &Path) -> bool {
    let Ok(file) = trusted_file::open(path) else {
        return true;
    };
    let mut lines = Lines::new(file);
    loop {
        match lines.next() {
            Ok(Some(line)) => {
                let is_user = name(line.text) != STAND_IN;
                if is_user && parse_line(&line).is_ok_and(|entry| entry.ids.is_none()) {
                    return true;
                }
            }
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Checks that a line begins with a name that a user can have, or with the stand-in's.
fn check_name(line: &[u8]) -> Result<(), String> {
    let name = name(line);
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
fn parse_line(line: &Line<'_>) -> Result<Entry, String> {
    if line.too_long {
        // Its end may bar the user from some networks.
        return Err(format!("expected at most {LINE_MAX} bytes"));
    }
    parse(line.text)
}

/// Parses the text of a whole line.
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
