//! Any process → its parent, the supervisor or a monitor: log records.

#[cfg(feature = "server")]
mod receiver;

use crate::account::SessionId;
use crate::bounded::{List, Text};
#[cfg(feature = "server")]
pub use receiver::NoMessage;
use serde::{Deserialize, Serialize};

/// The severity of a record, with the names and the order of syslog (RFC 5424, section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// A problem that an operator should look at.
    Error,
    /// A problem that popward has dealt with.
    Warning,
    /// A normal event, such as a login or the end of a session.
    Notice,
    /// Progress.
    Info,
    /// Details for the search of a fault.
    Debug,
}

/// Most fields of a record.
pub const FIELDS_MAX: usize = 20;

/// A field's name: lower-case ASCII letters and `_`.
pub type FieldName = Text<24>;

/// A field's value. It may hold any character: popward-log escapes control characters.
pub type FieldValue = Text<256>;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its severity.
    pub level: Level,
    /// The session that this is about, if any.
    pub session: Option<SessionId>,
    /// Whether this is a line in Qpopper's form, for programs that read Qpopper's log. It is
    /// written under Qpopper's name, with nothing but the text.
    pub qpopper: bool,
    /// What happened.
    pub text: Text<512>,
    /// The details, in the order of the line.
    pub fields: List<(FieldName, FieldValue), FIELDS_MAX>,
}
