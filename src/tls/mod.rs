//! TLS: certificates whose keys are elsewhere, the rules of handshakes, and the threads that do them.

pub mod certificates;
pub mod client_certificate;
pub(crate) mod handshake;
pub mod remote_key;
pub mod rules;
pub mod tickets;

use rustls::crypto::CryptoProvider;
use rustls::{ProtocolVersion, ServerConnection};
use std::sync::Arc;

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

/// The channel binding `tls-exporter` (RFC 9266, section 4.2) of a complete TLS 1.3 connection.
pub(crate) fn exporter(tls: &ServerConnection) -> Option<[u8; 32]> {
    if tls.is_handshaking() || tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .ok()
}
