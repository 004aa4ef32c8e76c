//! When log records may come. Only a parent receives them, so no worker links this.

use super::Record;
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};

/// The only phase of a log channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPhase {
    /// Records may come.
    Open,
}

impl Message for Record {
    const LIMIT: usize = 8 * 1024;
    type Phase = LogPhase;
    fn permit(&self) -> Permit<LogPhase> {
        any("Record", &[LogPhase::Open])
    }
}

/// The messages to a process over its log channel: there are none. This type has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoMessage {}

impl Message for NoMessage {
    const LIMIT: usize = 0;
    type Phase = LogPhase;
    fn permit(&self) -> Permit<LogPhase> {
        match *self {}
    }
}
