//! Certificate chains: read from a descriptor that the monitor opened, checked against their keys, chosen by what
//! a client can verify.

use super::remote_key::{Keys, RemoteKey};
use popward_proto::monitor_keys::KeyFacts;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
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
}

/// Reads a file whole, without moving the offset that other processes may share with this descriptor.
fn read(file: &File) -> Result<Vec<u8>, Unusable> {
    let mut bytes = vec![0; CHAIN_MAX + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unusable::Read(error)),
        }
    }
    if length > CHAIN_MAX {
        return Err(Unusable::TooLong);
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// The certificates of a configuration, in its order.
#[derive(Debug)]
struct Choice(Vec<Certificate>);

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let certificate = self.0.iter().find(|c| c.key.serves(offered))?;
        Some(Arc::clone(&certificate.certified))
    }
}

/// The TLS configuration with these certificates.
pub fn server_config(certificates: Vec<Certificate>) -> Result<Arc<ServerConfig>, Unusable> {
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()
        .map_err(Unusable::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Choice(certificates)));
    // One ticket a handshake is what a mail client can use; each is a record more to send.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
