//! Any process → monitor: what it has to say. The monitor writes it where the configuration says.

use crate::account::SessionId;
use crate::bounded::{List, Text};
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};

/// How much a record matters; the names and order of syslog (RFC 5424, section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Somebody should look at it.
    Error,
    /// Something was not as it should be, and was dealt with.
    Warning,
    /// Normal, and worth a line: a login, an end.
    Notice,
    /// Progress.
    Info,
    /// For who looks for a fault.
    Debug,
}

/// Most fields of a record.
pub const FIELDS_MAX: usize = 20;

/// A field's name: lower-case ASCII and `_`.
pub type FieldName = Text<24>;

/// A field's value, as it came: the monitor escapes control characters when it writes.
pub type FieldValue = Text<256>;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// Whether it is a line as Qpopper writes it, for programs that read such lines: under its name, with nothing but the text.
    pub qpopper: bool,
    /// What happened.
    pub text: Text<512>,
    /// The particulars, in the order in which they are to be read.
    pub fields: List<(FieldName, FieldValue), FIELDS_MAX>,
}

/// The monitor's phases on a log channel: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPhase {
    /// Reading.
    Open,
}

impl Message for Record {
    const LIMIT: usize = 8 * 1024;
    type Phase = LogPhase;
    fn permit(&self) -> Permit<LogPhase> {
        any("Record", &[LogPhase::Open])
    }
}

/// What goes back over a log channel: nothing. A value of this type cannot exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoMessage {}

impl Message for NoMessage {
    const LIMIT: usize = 0;
    type Phase = LogPhase;
    fn permit(&self) -> Permit<LogPhase> {
        match *self {}
    }
}
