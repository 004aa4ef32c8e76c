//! auth ↔ sessions: grants.
//!
//! After a reload, auth has a channel to the sessions of each older monitor too. Over it go the
//! grants for the sessions of that monitor's fronts.

use crate::account::{Account, SessionId};
use crate::bounded::UserName;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Messages from auth to sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToSessions {
    /// A session belongs to an account.
    Granted {
        /// The session.
        session: SessionId,
        /// The account.
        account: Account,
    },
    /// After [`crate::monitor_auth::MonitorToAuth::Successor`]: everything is handed over, and no
    /// login is left. This auth can end.
    Drained,
}

/// Messages from sessions to auth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsToAuth {
    /// The maildrop of a granted session was not opened. So this login does not count for the login
    /// delay.
    NotOpened {
        /// The session.
        session: SessionId,
        /// The account's name in the grant.
        user: UserName,
    },
}

impl Message for AuthToSessions {
    const LIMIT: usize = 5 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::Granted { .. } => any("Granted", &[SetupPhase::Serving]),
            Self::Drained => once("Drained", &[SetupPhase::Serving]),
        }
    }
}

impl Message for SessionsToAuth {
    const LIMIT: usize = 512;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::NotOpened { .. } => any("NotOpened", &[SetupPhase::Serving]),
        }
    }
}
