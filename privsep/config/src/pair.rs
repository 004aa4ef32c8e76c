//! Checks whether TLS can use a certificate chain and a key together.

use popward_sys::whole_file::read_whole;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fs::File;
use std::sync::Arc;
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use zeroize::Zeroizing;

/// Largest file of a chain or of authorities, in bytes. Fronts have the same limit.
const CHAIN_MAX: usize = 64 * 1024;

/// Largest key file, in bytes. The keys process has the same limit.
const KEY_MAX: usize = 65_535;

/// The cryptography that front and keys use.
#[cfg(feature = "aws-lc-rs")]
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The cryptography that front and keys use.
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn read(file: &File, most: usize) -> Result<Vec<u8>, String> {
    let bytes = read_whole(file, most).map_err(|error| error.to_string())?;
    bytes.ok_or_else(|| format!("expected at most {most} bytes"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("expected certificates in PEM, found none".to_owned()),
        Err(error) => Err(format!("expected certificates in PEM: {error}")),
    }
}

/// Reads the certificates of a chain. The server's own certificate comes first.
///
/// # Errors
///
/// What the file should contain, in words for the operator.
pub(crate) fn chain(file: &File) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(&read(file, CHAIN_MAX)?)
}

/// Checks that a file contains authorities of client certificates.
///
/// # Errors
///
/// What the file should contain, in words for the operator.
pub(crate) fn authorities(file: &File) -> Result<(), String> {
    for certificate in certificates(&read(file, CHAIN_MAX)?)? {
        anchor_from_trusted_cert(&certificate)
            .map_err(|error| format!("expected certificates of authorities: {error}"))?;
    }
    Ok(())
}

/// Reads the private key in a file.
///
/// # Errors
///
/// What the file should contain, in words for the operator.
pub(crate) fn key(file: &File) -> Result<Arc<dyn SigningKey>, String> {
    let pem = Zeroizing::new(read(file, KEY_MAX)?);
    // The error leaves out the parser's details, because they could show bytes of the secret key.
    let der = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| "expected a private key in PEM".to_owned())?;
    provider().key_provider.load_private_key(der).map_err(|_| {
        "expected a key that TLS can use: ECDSA P-256, P-384, Ed25519 or RSA".to_owned()
    })
}

/// Whether `key` is the key of the first certificate in `chain`.
pub(crate) fn belong_together(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> bool {
    CertifiedKey::new(chain, key).keys_match().is_ok()
}

/// Returns a warning if the first certificate has expired or is not valid yet. `None`: it is
/// valid now.
///
/// # Errors
///
/// The first certificate is missing or cannot be parsed.
pub(crate) fn not_valid_now(chain: &[CertificateDer<'static>]) -> Result<Option<String>, String> {
    let first = chain.first().ok_or("expected a certificate")?;
    let certificate = EndEntityCert::try_from(first).map_err(|error| error.to_string())?;
    let now = UnixTime::now();
    // The check always fails, because it gets no authorities. But it looks at the certificate's
    // dates first, so an error about the dates comes before the error about the missing
    // authorities.
    let verified = certificate.verify_for_usage(
        provider().signature_verification_algorithms.all,
        &[],
        &[],
        now,
        KeyUsage::server_auth(),
        None,
        None,
    );
    let days = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
    Ok(match verified.err() {
        Some(Error::CertExpired { not_after, .. }) => Some(format!(
            "the certificate expired {} days ago",
            days(not_after, now)
        )),
        Some(Error::CertNotValidYet { not_before, .. }) => Some(format!(
            "the certificate is not valid for {} days yet",
            days(now, not_before)
        )),
        _ => None,
    })
}
