//! monitor ↔ keys: the key files, as open descriptors. The monitor never reads them.

use crate::account::FrontId;
use crate::bounded::{Bytes, List, Text};
use crate::keys::KeyId;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Largest public key (`SubjectPublicKeyInfo`, DER) in bytes.
pub const PUBLIC_KEY_MAX: usize = 1200;

/// Most TLS signature schemes of one key.
pub const SCHEMES_MAX: usize = 12;

/// Messages from the monitor to keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToKeys {
    /// The first message. The settings do not change: a reload starts another keys.
    Settings {
        /// [`crate::VERSION`].
        version: u32,
        /// How often ticket keys are made anew, in milliseconds; 0: there are no tickets.
        ticket_ms: u32,
    },
    /// A key to load: one descriptor, its PEM file.
    Key(KeyId),
    /// A front to serve: one descriptor, the channel to it.
    Front(FrontId),
}

/// Messages from keys to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeysToMonitor {
    /// Confined.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// A key was loaded and is in use.
    Loaded(KeyFacts),
    /// A key was not loaded.
    Unusable {
        /// Which.
        key: KeyId,
        /// The reason, for the operator. It holds nothing of the key.
        why: Text<256>,
    },
    /// This front broke the rules of its channel to keys. Keys has closed the channel, so no
    /// handshake can succeed there any more.
    BrokeRules(FrontId),
}

/// The public facts about a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// Which key.
    pub key: KeyId,
    /// Its TLS signature schemes, as code points, best first.
    pub schemes: List<u16, SCHEMES_MAX>,
    /// Its public key (`SubjectPublicKeyInfo`, DER). The front checks that a certificate has the
    /// same.
    pub public_key: Bytes<PUBLIC_KEY_MAX>,
}

impl Message for MonitorToKeys {
    const LIMIT: usize = 64;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings { .. } => once("Settings", &[Starting]),
            Self::Key(_) => any("Key", &[Serving]).with_descriptors(1),
            Self::Front(_) => any("Front", &[Serving]).with_descriptors(1),
        }
    }
}

impl Message for KeysToMonitor {
    const LIMIT: usize = 4096;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]),
            Self::Loaded(_) => any("Loaded", &[Serving]),
            Self::Unusable { .. } => any("Unusable", &[Serving]),
            Self::BrokeRules(_) => any("BrokeRules", &[Serving]),
        }
    }
}
