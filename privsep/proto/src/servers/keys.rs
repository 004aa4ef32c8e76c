//! front ↔ keys: signatures of TLS handshakes, and the keys of session tickets.

use crate::bounded::Bytes;
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// The number of a private key, in the order of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyId(pub u16);

/// Longest message to sign, in bytes. The longest is a TLS 1.2 `ServerKeyExchange` with its
/// randoms. A TLS 1.3 `CertificateVerify` has at most 162 bytes.
pub const SIGN_MAX: usize = 512;

/// Longest signature, in bytes: that of an RSA key of 8,192 bits.
pub const SIGNATURE_MAX: usize = 1024;

/// Messages from a front to keys. There is one request at a time on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToKeys {
    /// Sign a handshake message. Keys refuses any other message.
    Sign {
        /// The private key.
        key: KeyId,
        /// The signature scheme: a TLS code point (RFC 8446, section 4.2.3).
        scheme: u16,
        /// The whole message. A hash would not show what is signed.
        message: Bytes<SIGN_MAX>,
    },
    /// Asks for the present keys of session tickets.
    Tickets,
}

/// Messages from keys to a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeysToFront {
    /// The signature.
    Signature(Bytes<SIGNATURE_MAX>),
    /// There is no such key or scheme, or the message is not a handshake message, or tickets are
    /// off.
    Refused,
    /// The keys of session tickets. All fronts get the same.
    Tickets(TicketKeys),
}

/// The keys of session tickets between two rotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    /// The key that seals new tickets.
    pub current: TicketKey,
    /// The key of the period before. It still opens tickets.
    pub previous: Option<TicketKey>,
    /// The time until the next rotation, in milliseconds.
    pub left_ms: u32,
}

/// A key of session tickets, for AES-256-GCM. It is wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// The name at the start of this key's tickets. It is not secret.
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
    /// No request is under way. Keys itself is always in this phase, because it answers before it
    /// receives again.
    Idle,
    /// The front waits for its answer.
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
