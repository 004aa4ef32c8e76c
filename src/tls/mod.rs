//! TLS: certificates whose keys are elsewhere, and the handshake threads.

pub mod certificates;
pub(crate) mod handshake;
pub mod remote_key;

use rustls::crypto::{CryptoProvider, SecureRandom};
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

/// Random bytes that no other connection has. `None`: the system gives none.
pub(crate) fn unique() -> Option<[u8; 16]> {
    // Made once: a connection needs its random numbers alone.
    static RANDOM: OnceLock<&'static dyn SecureRandom> = OnceLock::new();
    let mut bytes = [0; 16];
    let random = RANDOM.get_or_init(|| provider().secure_random);
    random.fill(&mut bytes).ok()?;
    Some(bytes)
}
