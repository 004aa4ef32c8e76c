//! Client certificates, for SASL EXTERNAL (RFC 4422, appendix A).
//!
//! The front proves that the client holds the certificate's key, since TLS demands it, and decides nothing by it: whose
//! certificate it is, and whether an authority vouches for it, is looked at by auth, which is given all that it takes to
//! see the signature for itself.

use popward_proto::auth::{CERTIFICATE_MAX, CHAIN_MAX};
use popward_proto::bounded::{Bytes, List};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A client's chain, DER, its own certificate first.
pub type Chain = List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>;

/// What a client showed in a full TLS 1.3 handshake, in the words of
/// [`Credentials::Certificate`](popward_proto::auth::Credentials::Certificate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain.
    pub chain: Chain,
    /// What `CertificateVerify` signs (RFC 8446, section 4.4.3).
    pub signed: Bytes<256>,
    /// By which scheme: its TLS code point.
    pub scheme: u16,
    /// The signature, which fits the certificate's key.
    pub signature: Bytes<1024>,
}

/// What one handshake saw.
#[derive(Debug, Default)]
struct Seen {
    /// Whether a certificate was shown at all.
    any: bool,
    /// The chain, where it is within its bounds.
    chain: Option<Chain>,
    certificate: Option<ClientCertificate>,
}

/// Asks the client of one connection for a certificate, and keeps what it shows.
#[derive(Debug)]
pub(crate) struct Witness {
    authorities: Arc<[DistinguishedName]>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

impl Witness {
    /// One that tells the client which authorities are known.
    pub(crate) fn new(authorities: Arc<[DistinguishedName]>) -> Self {
        Self {
            authorities,
            algorithms: super::provider().signature_verification_algorithms,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was shown in TLS 1.3, within bounds. The signature is right if the handshake is complete.
    pub(crate) fn take(&self) -> Option<ClientCertificate> {
        self.seen().certificate.take()
    }
}

/// The chain, if it is within its bounds.
fn bounded(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Option<Chain> {
    let certificates = std::iter::once(end_entity).chain(others);
    let chain: Result<Vec<_>, _> = certificates
        .take(CHAIN_MAX + 1)
        .map(|certificate| Bytes::try_from(certificate.to_vec()))
        .collect();
    Chain::try_from(chain.ok()?).ok()
}

impl ClientCertVerifier for Witness {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    /// Any chain is fine: one that is nobody's, or is out of bounds, is one that EXTERNAL does not take. Mail readers
    /// show certificates that were meant for others.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut seen = self.seen();
        seen.any = true;
        seen.chain = bounded(end_entity, intermediates);
        Ok(ClientCertVerified::assertion())
    }

    /// Nothing is kept: what is signed there is the whole handshake.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verify_tls13_signature(message, cert, signed, &self.algorithms)?;
        let mut seen = self.seen();
        let chain = seen.chain.take();
        seen.certificate = chain.and_then(|chain| {
            Some(ClientCertificate {
                chain,
                signed: Bytes::try_from(message.to_vec()).ok()?,
                scheme: signed.scheme.into(),
                signature: Bytes::try_from(signed.signature().to_vec()).ok()?,
            })
        });
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Tickets for whoever shows no certificate. A resumed session has no signature that auth could look at, and a client
/// cannot know that it must not resume if it wants EXTERNAL.
#[derive(Debug)]
pub(crate) struct Unshown<T> {
    /// Seals and opens.
    pub(crate) tickets: Arc<T>,
    /// The connection's.
    pub(crate) witness: Arc<Witness>,
}

impl<T: ProducesTickets> ProducesTickets for Unshown<T> {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.witness.seen().any {
            return None;
        }
        self.tickets.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(cipher)
    }
}
