//! Client certificates, for SASL EXTERNAL (RFC 4422, appendix A).
//!
//! TLS makes the client prove that it holds the certificate's key, and the front checks that proof.
//! The front decides nothing else. Auth decides who owns the certificate and whether an authority
//! signed it. Auth also gets the signature and the signed bytes, so it need not trust the front.

use popward_proto::auth::{CERTIFICATE_MAX, CHAIN_MAX};
use popward_proto::bounded::{Bytes, List};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A client's certificate chain in DER, the client's own certificate first.
pub type Chain = List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>;

/// What a client showed in a full TLS 1.3 handshake, in the form of
/// [`Credentials::Certificate`](popward_proto::auth::Credentials::Certificate).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain.
    pub chain: Chain,
    /// The bytes that `CertificateVerify` signs (RFC 8446, section 4.4.3).
    pub signed: Bytes<256>,
    /// The signature scheme: its TLS code point.
    pub scheme: u16,
    /// The signature by the certificate's key. The front has verified it.
    pub signature: Bytes<1024>,
}

/// What the client has shown in one handshake.
#[derive(Debug, Default)]
struct Seen {
    /// Whether the client showed a certificate at all.
    any: bool,
    /// The chain, if it is within the bounds of auth's message.
    chain: Option<Chain>,
    certificate: Option<ClientCertificate>,
}

/// Asks the client of one connection for a certificate, and keeps what the client shows.
#[derive(Debug)]
pub(crate) struct Witness {
    authorities: Arc<[DistinguishedName]>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

impl Witness {
    /// A witness that names these authorities to the client.
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

    /// Takes what the client showed in TLS 1.3, if it was within bounds. The caller calls this when
    /// the handshake is complete. Before that, the proof may be missing.
    pub(crate) fn take(&self) -> Option<ClientCertificate> {
        self.seen().certificate.take()
    }
}

/// The chain. `None`: it has too many certificates, or one is too large.
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

    /// Accepts every chain, because mail readers also show certificates that were meant for other
    /// servers. Refusing these would refuse the connection. EXTERNAL does not take a chain that is
    /// unknown or out of bounds.
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

    /// Checks the signature, but keeps nothing. In TLS 1.2 the whole handshake is signed, and auth
    /// does not get it.
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

/// Gives tickets only to clients that showed no certificate. A resumed session has no signature for
/// auth to check. A client with a ticket could not know that it must not resume before EXTERNAL.
#[derive(Debug)]
pub(crate) struct TicketsWithoutCertificate<T> {
    /// Seals and opens the tickets.
    pub(crate) tickets: Arc<T>,
    /// The witness of this connection.
    pub(crate) witness: Arc<Witness>,
}

impl<T: ProducesTickets> ProducesTickets for TicketsWithoutCertificate<T> {
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
