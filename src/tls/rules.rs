//! By which rules handshakes are done: versions, cipher suites, ALPN, tickets, and whether a client certificate is asked
//! for. Made anew by a reload; connections keep the rules that they began with.

use super::certificates::{Certificate, Choice, Unusable, read};
use super::client_certificate::{Unshown, Witness};
use super::remote_key::Keys;
use super::tickets::Tickets;
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

/// The name of POP3 in ALPN (RFC 7301; IANA, "Application-Layer Protocol Negotiation IDs"). A client that offers
/// other protocols and not this one is turned away, as the RFC has it: that it could be a browser that somebody sends here
/// to speak to the wrong server is worth more than what no mail client does.
const ALPN: &[u8] = b"pop3";

/// The rules.
#[derive(Debug)]
pub struct Rules {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    choice: Arc<Choice>,
    tickets: Arc<Tickets>,
    /// Who vouches for clients. `None`: no client is asked for a certificate.
    authorities: Option<Arc<[DistinguishedName]>>,
    /// For whoever is not asked: by our order of cipher suites, and by the client's.
    unasked: [Arc<ServerConfig>; 2],
}

/// Whose order of cipher suites counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ours = 0,
    Clients = 1,
}

/// Ours, but for a client that wants `ChaCha20` most: it has no instructions for AES.
fn order(suites: &[CipherSuite]) -> Order {
    use CipherSuite as S;
    // What many clients name first is no suite: they keep servers used to unknown ones (RFC 8701).
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

/// The library's cipher suites, which are all good ones, those of TLS 1.3 first and of each version the fastest: AES-128
/// is as good as AES-256 against anybody who can be thought of, and moves a mailbox in less time.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = Arc::unwrap_or_clone(super::provider());
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        let is_old = suite.tls13().is_none();
        (is_old, !name.contains("AES_128"), !name.contains("AES"))
    });
    Arc::new(provider)
}

/// Reads whom clients are told that we know. What the certificates say otherwise is auth's matter.
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

/// Most certificates of a set.
const CERTIFICATES_MAX: usize = 16;

/// A set of certificates that the monitor gives, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Coming {
    authorities: Option<OwnedFd>,
    certificates: Vec<(KeyFacts, OwnedFd)>,
}

impl Coming {
    /// Who vouches for clients.
    pub(crate) fn authorities(&mut self, file: OwnedFd) {
        self.authorities = Some(file);
    }

    /// One more certificate. What is beyond all that there can be is dropped.
    pub(crate) fn certificate(&mut self, key: KeyFacts, file: OwnedFd) {
        if self.certificates.len() < CERTIFICATES_MAX {
            self.certificates.push((key, file));
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The rules with this set. If one of it cannot be used, none is.
    pub(crate) fn rules(
        self,
        settings: TlsSettings,
        keys: &Arc<Keys>,
        tickets: &Arc<Tickets>,
    ) -> Result<Rules, Unusable> {
        let authorities = self.authorities.map(authorities).transpose()?;
        let certificates = self
            .certificates
            .into_iter()
            .map(|(facts, file)| Certificate::load(file, &facts, keys))
            .collect::<Result<_, _>>()?;
        Rules::new(certificates, authorities, settings, Arc::clone(tickets))
    }
}

impl Rules {
    /// Rules with these certificates, in order of preference. Fails where the library takes no such configuration.
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

    /// How the handshake that begins with `hello` is done, and who sees the certificate that is asked for, if any.
    /// Who names no suite of TLS 1.3 is not asked: TLS 1.2's signature is over the whole handshake, which auth is not
    /// given.
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
        let tickets = Arc::new(Unshown {
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
    // Tickets or nothing: another front would not know a session that is remembered here, and its secrets would stay.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // One ticket a handshake is what a mail client can use; each is a record more to send.
    config.send_tls13_tickets = 1;
    Arc::new(config)
}

#[cfg(test)]
mod tests;
