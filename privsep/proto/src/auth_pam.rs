//! auth ↔ the child that holds one PAM conversation: "check these", and what came of it. The child asks nothing.

use crate::account::Account;
use crate::bounded::{Text, UserName};
use crate::permit::{Message, Permit, once};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What auth asks of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToPam {
    /// Hold the conversation. It is the only message.
    Check {
        /// The PAM service.
        service: Text<32>,
        /// The name, as the client sent it.
        user: UserName,
        /// The password.
        secret: Secret,
        /// The client's address: `PAM_RHOST`.
        peer: IpAddr,
    },
}

/// What the child answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PamToAuth {
    /// Both phases went well, and NSS knows the account.
    Granted(Account),
    /// Refused, and why, for the log alone.
    Refused(Text<128>),
    /// Nothing is said about the credentials: PAM or NSS could not be asked. Why, for the log alone.
    Failed(Text<128>),
}

/// The phases of either end: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PamPhase {
    /// From start to end.
    Conversation,
}

impl Message for AuthToPam {
    const LIMIT: usize = 1024;
    type Phase = PamPhase;
    fn permit(&self) -> Permit<PamPhase> {
        match self {
            Self::Check { .. } => once("Check", &[PamPhase::Conversation]),
        }
    }
}

impl Message for PamToAuth {
    const LIMIT: usize = 4096;
    type Phase = PamPhase;
    fn permit(&self) -> Permit<PamPhase> {
        match self {
            Self::Granted(_) => once("Granted", &[PamPhase::Conversation]),
            Self::Refused(_) => once("Refused", &[PamPhase::Conversation]),
            Self::Failed(_) => once("Failed", &[PamPhase::Conversation]),
        }
    }
}
