//! supervisor ↔ sessions: the claims by which the sessions of all monitors share what holds for a
//! user.
//!
//! Sessions gets its configuration over a channel of its own, as
//! [`crate::config_sessions::ConfigToSessions`] messages.

use crate::account::SessionId;
use crate::bounded::{AbsolutePath, UserName};
use crate::log::Level;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Messages from the supervisor to sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToSessions {
    /// The first message.
    Start {
        /// [`crate::VERSION`].
        version: u32,
        /// Where the other executables are.
        libexec: AbsolutePath,
        /// Where users' state directories are.
        state: AbsolutePath,
        /// The least important level of the log.
        log_level: Level,
        /// Look for what a crash left: locks, and updates that are half done.
        after_crash: bool,
    },
    /// The answer to [`SessionsToSupervisor::Claim`]. `Some`: why the session gets no worker.
    Claimed(SessionId, Option<Refusal>),
    /// The user of this session logs in again, and may wait for its locks.
    Newcomer(SessionId),
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Its user has as many sessions as a user may have.
    TooMany,
    /// popward-adopt works for another session of this user.
    Adopting,
    /// Another session of this user has another spool, before a reload or by another source of
    /// accounts.
    Elsewhere,
}

/// A session that is to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The session.
    pub session: SessionId,
    /// The account's name.
    pub user: UserName,
    /// The directory of the spool.
    pub directory: AbsolutePath,
    /// The spool's name in it.
    pub spool: UserName,
    /// Most sessions of this user at once.
    pub sessions_max: u32,
    /// popward-adopt may work for it first.
    pub adopts: bool,
}

/// Messages from sessions to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsToSupervisor {
    /// A session is to get a worker.
    Claim(Claim),
    /// popward-adopt does not work for this session any more.
    Adopted(SessionId),
    /// This session's worker has ended, and nobody finishes an update of it.
    Released(SessionId),
}

impl Message for SupervisorToSessions {
    const LIMIT: usize = 9 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::Start { .. } => once("Start", &[SetupPhase::Starting]),
            Self::Claimed(..) => any("Claimed", &[SetupPhase::Serving]),
            Self::Newcomer(_) => any("Newcomer", &[SetupPhase::Serving]),
        }
    }
}

impl Message for SessionsToSupervisor {
    const LIMIT: usize = 5 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::Claim(_) => any("Claim", &[SetupPhase::Serving]),
            Self::Adopted(_) => any("Adopted", &[SetupPhase::Serving]),
            Self::Released(_) => any("Released", &[SetupPhase::Serving]),
        }
    }
}
