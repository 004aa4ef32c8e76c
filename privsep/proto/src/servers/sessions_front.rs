//! sessions → front: the sockets of sessions, and their ends. A front says nothing here.

use crate::account::SessionId;
use crate::bounded::UserName;
use crate::permit::{Message, Permit, any};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Messages from sessions to a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsToFront {
    /// A session's worker: one descriptor, its socket.
    Session {
        /// The session.
        session: SessionId,
        /// The account's name, as the source of accounts spells it, for the log.
        user: UserName,
        /// How many seconds its logins are apart.
        login_delay_s: u32,
    },
    /// Auth granted, and no worker was made.
    NoSession {
        /// The session.
        session: SessionId,
        /// Its user has as many sessions as a user may have, or popward-adopt works for another
        /// one.
        too_many: bool,
    },
    /// The session's worker has gone, and its locks with it.
    Ended {
        /// The session.
        session: SessionId,
        /// It did not finish its update, and another worker did.
        finished: bool,
    },
    /// The user of this session logs in again, and may wait for its locks. See
    /// [`crate::monitor_front::Limits::yield_ms`].
    Newcomer(SessionId),
}

impl Message for SessionsToFront {
    const LIMIT: usize = 512;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::Serving;
        match self {
            Self::Session { .. } => any("Session", &[Serving]).with_descriptors(1),
            Self::NoSession { .. } => any("NoSession", &[Serving]),
            Self::Ended { .. } => any("Ended", &[Serving]),
            Self::Newcomer(_) => any("Newcomer", &[Serving]),
        }
    }
}
