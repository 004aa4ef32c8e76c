//! supervisor ↔ log: the destination of the log, and the sockets from which its lines come.

use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Messages from the supervisor to popward-log. There are none back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToLog {
    /// The first message: one descriptor, the supervisor's standard error.
    Open {
        /// [`crate::VERSION`].
        version: u32,
        /// The supervisor's process id. Lines begin with it.
        pid: u32,
    },
    /// From now on, lines go here.
    To(Destination),
    /// A process with lines: one descriptor, the channel of [`crate::log_line::Line`]s.
    Writer,
}

/// Where the log can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The supervisor's standard error.
    Stderr,
    /// journald's native socket, with fields.
    Journald,
    /// syslog's socket.
    Syslog,
}

impl Message for SupervisorToLog {
    const LIMIT: usize = 32;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Open { .. } => once("Open", &[Starting]).with_descriptors(1),
            Self::To(_) => any("To", &[Serving]),
            Self::Writer => any("Writer", &[Serving]).with_descriptors(1),
        }
    }
}
