//! monitor ↔ auth: where accounts come from, which fronts may ask, and who was granted.

use crate::account::{Account, FrontId, SessionId};
use crate::bounded::{AbsolutePath, Text};
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};

/// Where auth looks for accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountSource {
    /// A file in Dovecot's passwd-file syntax.
    PasswdFile {
        /// The file.
        path: AbsolutePath,
    },
    /// PAM for the password and the account phase, NSS for the ids.
    Pam {
        /// The PAM service.
        service: Text<32>,
        /// Longest PAM conversation, in milliseconds; then its process is killed and the check is `Temporary`.
        limit_ms: u32,
        /// Most conversations at once; a check beyond is `Temporary`.
        at_once: u16,
    },
}

/// What the monitor tells auth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToAuth {
    /// The first message, and again after a reload.
    Settings {
        /// [`crate::VERSION`].
        version: u32,
        /// Where accounts come from.
        source: AccountSource,
        /// Smallest user id that may log in, never 0.
        first_uid: u32,
        /// Largest user id that may log in.
        last_uid: u32,
        /// Most lock-step failures are hidden by this: a failed check is answered no sooner than so many
        /// milliseconds after it came (promise P9).
        failure_delay_ms: u32,
    },
    /// A front to serve: one descriptor, the channel to it.
    Front(FrontId),
}

/// What auth tells the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToMonitor {
    /// Confined, and the settings were taken.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// The settings cannot be used, in words for the operator.
    Unusable(Text<256>),
    /// This session is this account's.
    Granted {
        /// The session that asked.
        session: SessionId,
        /// Whose it is.
        account: Account,
    },
}

/// The phases of either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupPhase {
    /// Before the first settings are taken.
    Starting,
    /// After.
    Serving,
}

impl Message for MonitorToAuth {
    const LIMIT: usize = 2048;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings { .. } => any("Settings", &[Starting, Serving]),
            Self::Front(_) => any("Front", &[Serving]).with_descriptors(1),
        }
    }
}

impl Message for AuthToMonitor {
    const LIMIT: usize = 4096;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]),
            Self::Unusable(_) => any("Unusable", &[Starting, Serving]),
            Self::Granted { .. } => any("Granted", &[Serving]),
        }
    }
}
