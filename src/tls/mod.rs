//! TLS: certificates whose keys are elsewhere, and the handshake threads.

pub mod certificates;
pub(crate) mod handshake;
pub mod remote_key;

use rustls::crypto::CryptoProvider;
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
