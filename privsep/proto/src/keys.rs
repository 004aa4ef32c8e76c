//! front ↔ keys: "sign this", "by which keys are tickets sealed".

use crate::bounded::Bytes;
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A private key, numbered in the order of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u16);

/// Longest message to be signed, in bytes: a TLS 1.2 `ServerKeyExchange` with its randoms. A TLS 1.3
/// `CertificateVerify` has at most 162.
pub const SIGN_MAX: usize = 512;

/// Longest signature, in bytes: RSA with 8,192 bits.
pub const SIGNATURE_MAX: usize = 1024;

/// What a front asks of keys. One request at a time on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToKeys {
    /// Sign a handshake. Keys refuses what has not the form of one.
    Sign {
        /// With which key.
        key: KeyId,
        /// By which scheme: a TLS `SignatureScheme` code (RFC 8446, section 4.2.3).
        scheme: u16,
        /// The whole message, not a hash of it.
        message: Bytes<SIGN_MAX>,
    },
    /// The keys of session tickets, as they are now.
    Tickets,
}

/// What keys answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeysToFront {
    /// The signature.
    Signature(Bytes<SIGNATURE_MAX>),
    /// No such key or scheme, or a message that is no handshake's; or there are no tickets.
    Refused,
    /// The keys of session tickets: the same for all fronts.
    Tickets(TicketKeys),
}

/// The keys of session tickets between two rotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    /// Seals new tickets.
    pub current: TicketKey,
    /// Sealed those of the time before, and still opens them.
    pub previous: Option<TicketKey>,
    /// For how long this is so, in milliseconds.
    pub left_ms: u32,
}

/// A key of session tickets: AES-256-GCM's. Wiped when dropped; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Stands at the start of its tickets. No secret.
    pub name: [u8; 16],
    /// The key.
    pub secret: [u8; 32],
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TicketKey(..)")
    }
}

/// The phases of keys and of a front on this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysPhase {
    /// Nothing is asked (keys is always here: it answers before it reads on).
    Idle,
    /// A front that waits for its answer.
    Waiting,
}

impl Message for FrontToKeys {
    const LIMIT: usize = 1024;
    type Phase = KeysPhase;
    fn permit(&self) -> Permit<KeysPhase> {
        match self {
            Self::Sign { .. } => any("Sign", &[KeysPhase::Idle]),
            Self::Tickets => any("Tickets", &[KeysPhase::Idle]),
        }
    }
}

impl Message for KeysToFront {
    const LIMIT: usize = 1100;
    type Phase = KeysPhase;
    fn permit(&self) -> Permit<KeysPhase> {
        match self {
            Self::Signature(_) => any("Signature", &[KeysPhase::Waiting]),
            Self::Refused => any("Refused", &[KeysPhase::Waiting]),
            Self::Tickets(_) => any("Tickets", &[KeysPhase::Waiting]),
        }
    }
}
