//! The key ring: the private keys by number. They are loaded from open files.

use popward_proto::bounded::{Bytes, List};
use popward_proto::keys::{KeyId, SIGNATURE_MAX};
use popward_proto::monitor_keys::KeyFacts;
use popward_sys::whole_file::read_whole;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Largest key file, in bytes.
const FILE_MAX: usize = 65_535;

/// The signature schemes that a key is tried for, best first (RFC 8446, section 4.2.3).
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// The private keys.
#[derive(Debug, Default)]
pub struct KeyRing(BTreeMap<u16, Arc<dyn SigningKey>>);

impl KeyRing {
    /// Loads the PEM key in `file` as `key`. After an error, the key that had this number before
    /// stays. The error is a text for the operator. It holds nothing of the key.
    pub fn load(&mut self, key: KeyId, file: &File) -> Result<KeyFacts, &'static str> {
        let pem = read_whole(file, FILE_MAX).map_err(|_| "the key file cannot be read")?;
        let pem = Zeroizing::new(pem.ok_or("the key file is larger than 65535 bytes")?);
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| "no private key in PEM")?;
        let der = Zeroizing::new(der);
        let signing = any_key(&der).ok_or("not a key that can be used: ECDSA, Ed25519 or RSA")?;
        let schemes: Vec<u16> = SCHEMES
            .iter()
            .filter(|scheme| signing.choose_scheme(&[**scheme]).is_some())
            .map(|scheme| u16::from(*scheme))
            .collect();
        let public = signing.public_key().ok_or("its public key is not known")?;
        let facts = KeyFacts {
            key,
            schemes: List::try_from(schemes).map_err(|_| "too many schemes")?,
            public_key: Bytes::try_from(public.to_vec()).map_err(|_| "the key is too large")?,
        };
        self.0.insert(key.0, signing);
        Ok(facts)
    }

    /// Signs `message` with `key` by `scheme`, a TLS code point. `None` if there is no such key, or
    /// if the key cannot sign by this scheme.
    pub fn sign(&self, key: KeyId, scheme: u16, message: &[u8]) -> Option<Bytes<SIGNATURE_MAX>> {
        let signer = self
            .0
            .get(&key.0)?
            .choose_scheme(&[SignatureScheme::from(scheme)])?;
        Bytes::try_from(signer.sign(message).ok()?).ok()
    }
}

#[cfg(feature = "aws-lc-rs")]
fn any_key(der: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    rustls::crypto::aws_lc_rs::sign::any_supported_type(der).ok()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn any_key(der: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    rustls::crypto::ring::sign::any_supported_type(der).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_key_file_is_refused() {
        let endless = File::open("/dev/zero").unwrap();
        let why = KeyRing::default().load(KeyId(0), &endless).unwrap_err();
        assert!(why.contains("larger than"), "{why}");
    }
}
