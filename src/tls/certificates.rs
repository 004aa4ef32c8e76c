//! Certificate chains: read from a descriptor that the monitor opened, checked against their keys, chosen by the name that
//! a client asks for and by what it can verify.

use super::remote_key::{Keys, RemoteKey};
use popward_proto::monitor_keys::KeyFacts;
use popward_sys::whole_file::read_whole;
use rustls::SignatureScheme;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Largest certificate file, in bytes.
const CHAIN_MAX: usize = 64 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// The file could not be read.
    Read(std::io::Error),
    /// The file is larger than any chain.
    TooLong,
    /// The file holds no certificate, or something that is none.
    NoCertificate,
    /// The key can do no signature that TLS knows.
    NoScheme,
    /// The certificate is another key's, or cannot be understood.
    OtherKey(rustls::Error),
    /// A certificate that is to vouch for clients cannot be understood.
    NoAuthority(rustls::Error),
    /// TLS takes no such configuration.
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

/// A chain with its key.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<RemoteKey>,
    certified: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads the chain from `file` and checks that it is the key's of these facts.
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

    /// Whether it is for this name, as clients decide it: by its subject alternative names, wildcards among them.
    fn is_for(&self, name: &ServerName<'_>) -> bool {
        // Parsed at each handshake, which costs a thousandth of it: the parsed form borrows from the chain.
        let parsed = self.certified.end_entity_cert();
        let parsed = parsed.and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|own| verify_server_name(&own, name).is_ok())
    }
}

/// Reads a file whole.
pub(crate) fn read(file: &File) -> Result<Vec<u8>, Unusable> {
    let bytes = read_whole(file, CHAIN_MAX).map_err(Unusable::Read)?;
    bytes.ok_or(Unusable::TooLong)
}

/// The certificates of a configuration, in its order.
#[derive(Debug)]
pub(crate) struct Choice(Vec<Certificate>);

impl Choice {
    /// A choice of these, the most preferred first.
    pub(crate) fn new(certificates: Vec<Certificate>) -> Self {
        Self(certificates)
    }

    /// The first that is for `name` and that a client which can verify `offered` can verify; for a name that none is
    /// for, or none that fits, the first that it can verify.
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
