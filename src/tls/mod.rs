//! TLS: certificates whose keys are elsewhere, the rules of handshakes, and the threads that do them.

pub mod certificates;
pub mod client_certificate;
pub(crate) mod handshake;
pub mod remote_key;
pub mod rules;
pub mod tickets;

use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::{ProtocolVersion, ServerConnection};
use std::sync::{Arc, OnceLock};

/// The cryptography: aws-lc-rs, or ring where the feature says so.
#[cfg(feature = "aws-lc-rs")]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The cryptography: aws-lc-rs, or ring where the feature says so.
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Random numbers that no other connection has. `None`: the system gives none.
pub(crate) fn unique() -> Option<[u64; 2]> {
    // Made once: a connection needs its random numbers alone.
    static RANDOM: OnceLock<&'static dyn SecureRandom> = OnceLock::new();
    let mut bytes = [[0; 8]; 2];
    let random = RANDOM.get_or_init(|| provider().secure_random);
    for number in &mut bytes {
        random.fill(number).ok()?;
    }
    Some(bytes.map(u64::from_ne_bytes))
}

/// The channel binding `tls-exporter` (RFC 9266, section 4.2) of a complete TLS 1.3 connection.
pub(crate) fn exporter(tls: &ServerConnection) -> Option<[u8; 32]> {
    if tls.is_handshaking() || tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .ok()
}
