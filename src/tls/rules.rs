//! The rules of handshakes: versions, cipher suites, ALPN, tickets, and whether a client is asked
//! for a certificate. A reload makes new rules. Connections keep the rules with which they began.

use super::certificates::{Certificate, Choice, Expiry, Unusable, read};
use super::client_certificate::{TicketsWithoutCertificate, Witness};
use super::remote_key::Keys;
use super::tickets::Tickets;
use popward_proto::keys::KeyId;
use popward_proto::monitor_front::TlsSettings;
use popward_proto::monitor_keys::KeyFacts;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, WantsServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ConfigBuilder, DistinguishedName, RootCertStore, ServerConfig, WantsVerifier,
};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The name of POP3 in ALPN (RFC 7301; IANA, "Application-Layer Protocol Negotiation IDs"). A
/// client that offers only other protocols is refused, as the RFC demands. It could be a browser
/// that an attacker redirects to this server. No mail client does this.
const ALPN: &[u8] = b"pop3";

/// The rules of one configuration.
#[derive(Debug)]
pub struct Rules {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    choice: Arc<Choice>,
    tickets: Arc<Tickets>,
    /// The authorities that sign client certificates. `None`: no client is asked for a certificate.
    authorities: Option<Arc<[DistinguishedName]>>,
    /// The configurations for clients that are not asked for a certificate, one for each [`Order`].
    unasked: [Arc<ServerConfig>; 2],
}

/// The side whose order of cipher suites decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ours = 0,
    Clients = 1,
}

/// The server's order decides, except for a client that prefers `ChaCha20`. Such a client probably
/// has no instructions for AES, so AES would be slow for it.
fn order(suites: &[CipherSuite]) -> Order {
    use CipherSuite as S;
    // Many clients name a reserved value first that is no suite, so that servers stay tolerant of
    // unknown ones (RFC 8701).
    let grease = |suite: &&CipherSuite| u16::from(**suite) & 0x0f0f == 0x0a0a;
    match suites.iter().find(|suite| !grease(suite)) {
        Some(
            S::TLS13_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ) => Order::Clients,
        _ => Order::Ours,
    }
}

/// The library with its cipher suites in the server's order: TLS 1.3 first, then the fastest first.
/// AES-128 comes before AES-256, because it is faster and nobody can break it either.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = Arc::unwrap_or_clone(super::provider());
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        let is_old = suite.tls13().is_none();
        (is_old, !name.contains("AES_128"), !name.contains("AES"))
    });
    Arc::new(provider)
}

/// Reads the names of the authorities from `file`. Clients are told these names, so that they can
/// choose a certificate. Auth checks everything else about them.
pub fn authorities(file: OwnedFd) -> Result<Arc<[DistinguishedName]>, Unusable> {
    let pem = read(&File::from(file))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| Unusable::NoCertificate)?;
        store.add(certificate).map_err(Unusable::NoAuthority)?;
    }
    if store.is_empty() {
        return Err(Unusable::NoCertificate);
    }
    Ok(store.subjects().into())
}

/// Most certificates of a set. Further ones are dropped.
const CERTIFICATES_MAX: usize = 16;

/// The part of a set of certificates that the monitor has sent so far.
#[derive(Debug, Default)]
pub(crate) struct CertificateSet {
    authorities: Option<OwnedFd>,
    certificates: Vec<(KeyFacts, OwnedFd)>,
}

impl CertificateSet {
    /// Takes the file of the authorities that sign client certificates.
    pub(crate) fn authorities(&mut self, file: OwnedFd) {
        self.authorities = Some(file);
    }

    /// Takes one more certificate. It is dropped if the set is full.
    pub(crate) fn certificate(&mut self, key: KeyFacts, file: OwnedFd) {
        if self.certificates.len() < CERTIFICATES_MAX {
            self.certificates.push((key, file));
        }
    }

    /// Whether the set has no certificate.
    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Makes the rules with this set. If one certificate is unusable, the whole set is refused with
    /// the reason.
    pub(crate) fn rules(
        self,
        settings: TlsSettings,
        keys: &Arc<Keys>,
        tickets: &Arc<Tickets>,
    ) -> Result<Rules, (Option<KeyId>, Unusable)> {
        let authorities = self.authorities.map(authorities).transpose();
        let authorities = authorities.map_err(|error| (None, error))?;
        let certificates = self
            .certificates
            .into_iter()
            .map(|(facts, file)| {
                let loaded = Certificate::load(file, &facts, keys);
                loaded.map_err(|error| (Some(facts.key), error))
            })
            .collect::<Result<_, _>>()?;
        let rules = Rules::new(certificates, authorities, settings, Arc::clone(tickets));
        rules.map_err(|error| (None, error))
    }
}

impl Rules {
    /// When the certificates expire, the most preferred one first.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.choice.expiries()
    }

    /// Rules with these certificates, in order of preference. Fails if the TLS library refuses the
    /// configuration.
    pub fn new(
        certificates: Vec<Certificate>,
        authorities: Option<Arc<[DistinguishedName]>>,
        settings: TlsSettings,
        tickets: Arc<Tickets>,
    ) -> Result<Self, Unusable> {
        let versions: &[_] = if settings.only_1_3 {
            &[&TLS13]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(Unusable::Tls)?;
        let choice = Arc::new(Choice::new(certificates));
        let unasked = [Order::Ours, Order::Clients].map(|order| {
            let tickets = Arc::clone(&tickets) as Arc<dyn ProducesTickets>;
            finish(
                builder.clone().with_no_client_auth(),
                &choice,
                tickets,
                order,
            )
        });
        Ok(Self {
            builder,
            choice,
            tickets,
            authorities,
            unasked,
        })
    }

    /// The configuration for the handshake that begins with `hello`. If the client is asked for a
    /// certificate, the witness that sees it comes too. A client that names no suite of TLS 1.3 is
    /// not asked, because in TLS 1.2 the signature is over the whole handshake, and auth does not
    /// get that.
    pub(crate) fn begin(
        &self,
        hello: &ClientHello<'_>,
    ) -> (Arc<ServerConfig>, Option<Arc<Witness>>) {
        let suites = hello.cipher_suites();
        let is_1_3 = |suite: &CipherSuite| u16::from(*suite) >> 8 == 0x13;
        let Some(authorities) = self
            .authorities
            .as_ref()
            .filter(|_| suites.iter().any(is_1_3))
        else {
            return (Arc::clone(&self.unasked[order(suites) as usize]), None);
        };
        let witness = Arc::new(Witness::new(Arc::clone(authorities)));
        let builder = self
            .builder
            .clone()
            .with_client_cert_verifier(Arc::clone(&witness) as _);
        let tickets = Arc::new(TicketsWithoutCertificate {
            tickets: Arc::clone(&self.tickets),
            witness: Arc::clone(&witness),
        });
        let config = finish(builder, &self.choice, tickets, order(suites));
        (config, Some(witness))
    }
}

fn finish(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    choice: &Arc<Choice>,
    tickets: Arc<dyn ProducesTickets>,
    order: Order,
) -> Arc<ServerConfig> {
    let mut config = builder.with_cert_resolver(Arc::clone(choice) as _);
    config.ignore_client_order = order == Order::Ours;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = tickets;
    // Sessions are resumed by tickets only. A session that is remembered here would be unknown to
    // other fronts, and its secrets would stay in memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A mail client can use one ticket of a handshake. Each further ticket would be one more record
    // to send.
    config.send_tls13_tickets = 1;
    Arc::new(config)
}

#[cfg(test)]
mod tests;
