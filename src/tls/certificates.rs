//! Certificate chains. They are read from descriptors that the monitor opened, and checked against
//! their keys. For each handshake one is chosen, by the name that the client asks for and by the
//! signatures that it can verify.

use super::remote_key::{Keys, RemoteKey};
use popward_proto::monitor_keys::KeyFacts;
use popward_sys::whole_file::read_whole;
use rustls::SignatureScheme;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Largest certificate file, in bytes.
const CHAIN_MAX: usize = 64 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// The file could not be read.
    Read(std::io::Error),
    /// The file has more than 64 KiB.
    TooLong,
    /// The file holds no certificate, or text that is not valid PEM.
    NoCertificate,
    /// The key supports no signature scheme that TLS knows.
    NoScheme,
    /// The certificate does not belong to the key, or cannot be parsed.
    OtherKey(rustls::Error),
    /// A certificate in the file `client_ca` cannot be parsed.
    NoAuthority(rustls::Error),
    /// The TLS library refuses the configuration.
    Tls(rustls::Error),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(out, "certificate file: {error}"),
            Self::TooLong => write!(out, "certificate file: more than {CHAIN_MAX} bytes"),
            Self::NoCertificate => out.write_str("certificate file: no PEM certificate in it"),
            Self::NoScheme => out.write_str("key: no signature scheme that TLS knows"),
            Self::OtherKey(error) => write!(out, "certificate and key do not match: {error}"),
            Self::NoAuthority(error) => write!(out, "client_ca: {error}"),
            Self::Tls(error) => write!(out, "TLS: {error}"),
        }
    }
}

impl std::error::Error for Unusable {}

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<RemoteKey>,
    certified: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads the chain from `file` and checks that it belongs to the key with these facts. `file`
    /// may have at most 64 KiB. The error says why the chain is unusable.
    pub fn load(file: OwnedFd, facts: &KeyFacts, keys: &Arc<Keys>) -> Result<Self, Unusable> {
        let pem = read(&File::from(file))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::NoCertificate)?;
        if chain.is_empty() {
            return Err(Unusable::NoCertificate);
        }
        let key = RemoteKey::new(Arc::clone(keys), facts).ok_or(Unusable::NoScheme)?;
        let key = Arc::new(key);
        let certified = CertifiedKey::new(chain, Arc::clone(&key) as Arc<dyn SigningKey>);
        certified.keys_match().map_err(Unusable::OtherKey)?;
        let certified = Arc::new(certified);
        Ok(Self { key, certified })
    }

    /// Whether the certificate is valid for this name, by the rules of clients: the name must match
    /// a subject alternative name. These may have wildcards.
    fn is_for(&self, name: &ServerName<'_>) -> bool {
        // The certificate is parsed in each handshake, because the parsed form borrows from the
        // chain. This costs a thousandth of the handshake.
        let parsed = self.certified.end_entity_cert();
        let parsed = parsed.and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|own| verify_server_name(&own, name).is_ok())
    }
}

/// What the log says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// The first DNS name among its subject alternative names. Empty: there is none.
    pub(crate) name: String,
    /// When it expires, in Unix time.
    pub(crate) at_s: u64,
}

impl Certificate {
    /// When the server's own certificate expires. `None`: it cannot be parsed.
    fn expiry(&self) -> Option<Expiry> {
        let own = webpki::EndEntityCert::try_from(self.certified.cert.first()?).ok()?;
        // At the end of time each certificate has expired, and the error says when.
        let end = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        let use_of = webpki::KeyUsage::server_auth();
        let verified = own.verify_for_usage(&[], &[], &[], end, use_of, None, None);
        match verified.err()? {
            webpki::Error::CertExpired { not_after, .. } => Some(Expiry {
                name: own.valid_dns_names().next().unwrap_or_default().to_owned(),
                at_s: not_after.as_secs(),
            }),
            _ => None,
        }
    }
}

/// Reads a whole file of at most 64 KiB.
pub(crate) fn read(file: &File) -> Result<Vec<u8>, Unusable> {
    let bytes = read_whole(file, CHAIN_MAX).map_err(Unusable::Read)?;
    bytes.ok_or(Unusable::TooLong)
}

/// The certificates of a configuration, in its order.
#[derive(Debug)]
pub(crate) struct Choice(Vec<Certificate>);

impl Choice {
    /// A choice of these certificates, the most preferred one first.
    pub(crate) fn new(certificates: Vec<Certificate>) -> Self {
        Self(certificates)
    }

    /// When the certificates expire, in this order.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.0.iter().filter_map(Certificate::expiry)
    }

    /// Chooses a certificate that the client can verify: one whose key can sign by a scheme in
    /// `offered`. Among these it takes the first that is valid for `name`. If none is, it takes the
    /// first of them. `None`: the client can verify no certificate.
    fn choose(&self, name: Option<&str>, offered: &[SignatureScheme]) -> Option<&Certificate> {
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let mut fits = self.0.iter().filter(|one| one.key.serves(offered));
        let named = |name| fits.clone().find(|one| one.is_for(&name));
        name.and_then(named).or_else(|| fits.next())
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&certificate.certified))
    }
}
