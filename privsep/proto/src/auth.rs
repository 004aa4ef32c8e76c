//! front ↔ auth: "check these".

use crate::account::SessionId;
use crate::bounded::UserName;
use crate::permit::{Message, Permit, any};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a front asks of auth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToAuth {
    /// Check a user name and password (RFC 1939, section 7, USER and PASS).
    Check {
        /// The session that asks; answers and grants name it. At most one check of a session at a time.
        session: SessionId,
        /// The name, as the client sent it.
        user: UserName,
        /// The password.
        secret: Secret,
        /// The client's address, for PAM and for auth's log.
        peer: IpAddr,
        /// Whether the secret came over TLS.
        tls: bool,
    },
}

/// What auth answers a front. A grant goes to the monitor instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToFront {
    /// The check failed.
    Refused {
        /// The session that asked.
        session: SessionId,
        /// Why, as much as a client may learn.
        why: AuthRefusal,
    },
}

/// Why a login was refused. There is no word for "no such user" and none for "locked": promise P9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthRefusal {
    /// Unknown user, wrong password, or an account that may not log in.
    Credentials,
    /// Nothing is said about the credentials: a source could not be asked. RFC 3206, `[SYS/TEMP]`.
    Temporary,
}

/// The phases of auth and of a front on this channel: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPhase {
    /// Checks and answers.
    Serving,
}

impl Message for FrontToAuth {
    const LIMIT: usize = 1024;
    type Phase = AuthPhase;
    fn permit(&self) -> Permit<AuthPhase> {
        use AuthPhase::Serving;
        match self {
            Self::Check { .. } => any("Check", &[Serving]),
        }
    }
}

impl Message for AuthToFront {
    const LIMIT: usize = 32;
    type Phase = AuthPhase;
    fn permit(&self) -> Permit<AuthPhase> {
        use AuthPhase::Serving;
        match self {
            Self::Refused { .. } => any("Refused", &[Serving]),
        }
    }
}
