//! When log records may come. Only a parent receives them, so no worker links this.

use super::Record;
use crate::permit::{Message, Permit, any};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

impl Message for Record {
    const LIMIT: usize = 8 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        any("Record", &[SetupPhase::Serving])
    }
}

/// The messages to a process over its log channel: there are none. This type has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoMessage {}

impl Message for NoMessage {
    const LIMIT: usize = 0;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match *self {}
    }
}
