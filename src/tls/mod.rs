//! TLS: certificates whose keys another process holds, the rules of handshakes, and the threads
//! that do handshakes.

pub mod certificates;
pub mod client_certificate;
pub(crate) mod handshake;
pub mod remote_key;
pub mod rules;
pub mod tickets;

use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::{ProtocolVersion, ServerConnection};
use std::sync::{Arc, OnceLock};

/// The cryptography library: aws-lc-rs, or ring if only that feature is on.
#[cfg(feature = "aws-lc-rs")]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The cryptography library: aws-lc-rs, or ring if only that feature is on.
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Random numbers for one connection: 128 bits, so that no other connection has the same. `None`:
/// the system gives no random numbers.
pub(crate) fn unique() -> Option<[u64; 2]> {
    // The provider is made once, because only its random numbers are needed here.
    static RANDOM: OnceLock<&'static dyn SecureRandom> = OnceLock::new();
    let mut bytes = [[0; 8]; 2];
    let random = RANDOM.get_or_init(|| provider().secure_random);
    for number in &mut bytes {
        random.fill(number).ok()?;
    }
    Some(bytes.map(u64::from_ne_bytes))
}

/// The channel binding `tls-exporter` (RFC 9266, section 4.2). `None`: the handshake is not
/// complete, or the version is not TLS 1.3.
pub(crate) fn exporter(tls: &ServerConnection) -> Option<[u8; 32]> {
    if tls.is_handshaking() || tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .ok()
}
