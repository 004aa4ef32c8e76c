//! supervisor or monitor → log: log records, and who they come from.
//!
//! A parent says who a record comes from, because it knows that by the socket. popward-log writes
//! the records to the configured destination.

mod escape;

use crate::log::Record;
use crate::permit::{Message, Permit, any};
use crate::setup_phase::SetupPhase;
pub use escape::escaped;
use serde::{Deserialize, Serialize};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Starts monitors, and speaks with the service manager.
    Supervisor,
    /// Starts the processes of one configuration.
    Monitor,
    /// Starts workers.
    Sessions,
    /// Writes the log.
    Log,
    /// Reads the configuration.
    Config,
    /// Speaks with clients.
    Front,
    /// Checks credentials.
    Auth,
    /// Signs.
    Keys,
    /// Serves one session.
    Worker,
    /// Pins the old server's UIDLs before a user's first session.
    Adopt,
    /// Holds one conversation with PAM.
    AuthPam,
    /// Asks an operator's program about one login.
    AuthProgram,
    /// Parses one token or certificate.
    AuthProof,
}

impl Role {
    /// Whether the process knows clients, so that its records can name them and their users.
    pub const fn knows_clients(self) -> bool {
        matches!(self, Self::Front | Self::Auth)
    }

    /// Most records of the process in a second. A front writes two for each session, and a server
    /// with eight fronts was measured at about 1,300 logins a second.
    pub const fn records_max(self) -> u32 {
        if self.knows_clients() { 5000 } else { 100 }
    }

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Monitor => "monitor",
            Self::Sessions => "sessions",
            Self::Log => "log",
            Self::Config => "config",
            Self::Front => "front",
            Self::Auth => "auth",
            Self::Keys => "keys",
            Self::Worker => "worker",
            Self::Adopt => "adopt",
            Self::AuthPam => "auth-pam",
            Self::AuthProgram => "auth-program",
            Self::AuthProof => "auth-proof",
        }
    }
}

/// A process, as its parent knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What it is for.
    pub role: Role,
    /// Its process id.
    pub pid: u32,
}

/// A record, and the process that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The process.
    pub origin: Origin,
    /// What it said.
    pub record: Record,
}

impl Message for Line {
    const LIMIT: usize = Record::LIMIT + 16;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        any("Line", &[SetupPhase::Serving])
    }
}
