//! What the process that looks at a user's files is asked, and what it answers.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to look at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The directory of the spool.
    pub(crate) spool_directory: PathBuf,
    /// The spool's name in it.
    pub(crate) spool_name: String,
    /// The user's state directory, if there is one.
    pub(crate) state_directory: Option<PathBuf>,
    /// The header fields that clients do not get, which decides about sizes.
    pub(crate) hide: Vec<String>,
    /// The user that the process must be, and the groups that it may have.
    pub(crate) uid: u32,
    /// The group that it must have.
    pub(crate) gid: u32,
    /// The supplementary groups that it may have.
    pub(crate) groups: Vec<u32>,
}

/// What there is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The spool.
    pub(crate) spool: Spool,
    /// The file of the dotlock.
    pub(crate) dotlock: Option<Dotlock>,
    /// The state directory's files. `None`: there is no state directory.
    pub(crate) state: Option<State>,
}

/// A spool.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spool {
    /// The directory cannot be opened, for this reason.
    NoDirectory(String),
    /// There is none.
    Missing,
    /// A worker would refuse it, for this reason, before it reads a byte.
    Unfit(String),
    /// It cannot be opened, for this reason.
    Unreadable(String),
    /// It is there.
    There(SpoolFile),
}

/// The file of a spool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpoolFile {
    /// Its length.
    pub(crate) bytes: u64,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its mode, without the type.
    pub(crate) mode: u32,
    /// Seconds since its bytes were changed.
    pub(crate) changed_s_ago: u64,
    /// The file in the kernel's list of locks, such as `fd:01:917`.
    pub(crate) lock_id: String,
    /// What is in it.
    pub(crate) content: Content,
}

/// What is in a spool.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    /// Messages.
    Mail {
        /// How many clients see.
        messages: usize,
        /// Their octets.
        octets: u64,
    },
    /// popward would refuse it for this reason.
    Refused(String),
    /// Reading failed for this reason.
    NotRead(String),
}

/// A dotlock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dotlock {
    /// The beginning of its text.
    pub(crate) text: String,
    /// Its owner.
    pub(crate) uid: u32,
    /// Seconds since it was touched.
    pub(crate) touched_s_ago: u64,
}

/// The files of a state directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The index.
    pub(crate) index: Index,
    /// The pins.
    pub(crate) pins: Pins,
    /// The journal.
    pub(crate) journal: Journal,
}

/// An index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Index {
    /// There is none. A small spool needs none.
    None,
    /// It cannot be read or is damaged. The next session makes it anew.
    Unusable(String),
    /// It describes the spool as it is now.
    Current {
        /// How many messages it has.
        messages: usize,
    },
    /// It describes the spool as it was.
    Earlier {
        /// How many messages it has.
        messages: usize,
    },
    /// It describes another file.
    OfAnotherFile,
}

/// Pins.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pins {
    /// There is no file.
    None,
    /// So many UIDLs are pinned.
    Count(usize),
    /// The file cannot be used, for this reason.
    Unusable(String),
}

/// A journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Journal {
    /// No update is unfinished.
    None,
    /// An update of this spool is unfinished.
    Unfinished,
    /// An update of another file is unfinished.
    OfAnotherFile,
    /// It cannot be used, for this reason.
    Unusable(String),
}
