//! What `popwardctl user` prints.

use crate::facts::{Content, Index, Journal, Pins, Spool, SpoolFile, State};
use crate::holders::Lock;
use crate::outcome::Outcome;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// All that is known about an account.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Whose mail it is.
    pub(crate) account: Whose,
    /// Where the spool lies, by the configuration in force.
    pub(crate) path: Option<PathBuf>,
    /// The spool. `None`: it has no place.
    pub(crate) spool: Option<Spool>,
    /// The locks that are held.
    pub(crate) locks: Vec<Lock>,
    /// The state directory.
    pub(crate) state_directory: Directory,
    /// What is in it.
    pub(crate) state: Option<State>,
    /// What a login would do.
    pub(crate) login: Outcome,
}

/// An account.
#[derive(Debug, Serialize)]
pub(crate) struct Whose {
    /// Its name.
    pub(crate) name: String,
    /// Its user id.
    pub(crate) uid: u32,
    /// Its group id.
    pub(crate) gid: u32,
    /// Its home directory.
    pub(crate) home: Option<String>,
    /// Where this is from.
    pub(crate) source: &'static str,
}

/// A state directory.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Directory {
    /// There is none yet. The first session makes it.
    Missing,
    /// It is the user's alone.
    There(PathBuf),
    /// It is not a directory of the user's alone.
    Foreign(PathBuf),
    /// It cannot be seen, for this reason.
    Unknown(String),
}

impl Directory {
    /// Its path, if it can be used.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::There(path) => Some(path),
            _ => None,
        }
    }

    /// Whether there is none.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Why no session can use it.
    pub(crate) fn obstacle(&self) -> Option<String> {
        match self {
            Self::Missing | Self::There(_) => None,
            Self::Foreign(path) => Some(format!(
                "{}: not a directory of this user's alone (mode 0700)",
                path.display()
            )),
            Self::Unknown(why) => Some(format!("the state directory: {why}")),
        }
    }
}

impl Report {
    /// The report as lines for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let name = format!("{name}:");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<10} {value}");
        };
        let who = &self.account;
        let home = who
            .home
            .as_ref()
            .map_or_else(String::new, |home| format!(", home {home}"));
        let Whose {
            name,
            uid,
            gid,
            source,
            ..
        } = who;
        line(
            "account",
            &format!("{name}, uid {uid}, gid {gid}{home} ({source})"),
        );
        let path = self.path.as_ref().map(|path| path.display().to_string());
        line("spool", &path.unwrap_or_else(|| "no place".to_owned()));
        if let Some(spool) = &self.spool {
            for (name, value) in describe(spool) {
                line(name, &value);
            }
        }
        for lock in &self.locks {
            line("lock", &held(lock));
        }
        let state = match &self.state_directory {
            Directory::Missing => "none yet; the first session makes it".to_owned(),
            Directory::There(path) => path.display().to_string(),
            other => other.obstacle().unwrap_or_default(),
        };
        line("state", &state);
        if let Some(state) = &self.state {
            line("index", &index(&state.index));
            line("pins", &pins(&state.pins));
            line("journal", &journal(&state.journal));
        }
        line(
            "login",
            &format!("{}: {}", self.login.answer, self.login.because),
        );
        text
    }
}

fn describe(spool: &Spool) -> Vec<(&'static str, String)> {
    match spool {
        Spool::There(file) => of_file(file),
        Spool::Missing => vec![("file", "none".to_owned())],
        Spool::NoDirectory(why) => vec![("file", format!("its directory: {why}"))],
        Spool::Unfit(why) | Spool::Unreadable(why) => vec![("file", why.clone())],
    }
}

fn of_file(file: &SpoolFile) -> Vec<(&'static str, String)> {
    let owner = nix::unistd::User::from_uid(file.uid.into());
    let owner = match owner {
        Ok(Some(user)) => format!("{} (uid {})", user.name, file.uid),
        _ => format!("uid {}", file.uid),
    };
    let (bytes, mode, ago) = (file.bytes, file.mode, since(file.changed_s_ago));
    let content = match &file.content {
        Content::Mail { messages, octets } => {
            format!("{messages} of {octets} octets, counted without locks")
        }
        Content::Refused(why) => format!("refused: {why}"),
        Content::NotRead(why) => format!("not read: {why}"),
    };
    vec![
        (
            "file",
            format!("{bytes} bytes, owner {owner}, mode {mode:04o}, changed {ago} ago"),
        ),
        ("messages", content),
    ]
}

fn held(lock: &Lock) -> String {
    let pid = lock
        .pid
        .map_or_else(String::new, |pid| format!(", process {pid}"));
    let age = lock.touched_s_ago;
    let age = age.map_or_else(String::new, |age| format!(", touched {} ago", since(age)));
    format!("{}: {}{pid}{age}", lock.kind, lock.holder)
}

fn index(index: &Index) -> String {
    match index {
        Index::None => "none; a small spool needs none".to_owned(),
        Index::Unusable(why) => format!("{why}; the next session makes it anew"),
        Index::Current { messages } => format!("{messages} messages, of the spool as it is"),
        Index::Earlier { messages } => {
            format!(
                "{messages} messages, of the spool as it was; the next session brings it up to date"
            )
        }
        Index::OfAnotherFile => "of another file; the next session makes it anew".to_owned(),
    }
}

fn pins(pins: &Pins) -> String {
    match pins {
        Pins::None => "none".to_owned(),
        Pins::Count(count) => count.to_string(),
        Pins::Unusable(why) => why.clone(),
    }
}

fn journal(journal: &Journal) -> String {
    match journal {
        Journal::None => "none",
        Journal::Unfinished => "an update is under way, or was broken off",
        Journal::OfAnotherFile => "an unfinished update of another spool file",
        Journal::Unusable(why) => why,
    }
    .to_owned()
}

/// A time in words.
pub(crate) fn since(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
