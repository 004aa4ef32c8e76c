//! Tests of the rules by handshakes in memory with a client of the library: versions, ALPN,
//! tickets, client certificates.

use super::*;
use crate::tls::client_certificate::ClientCertificate;
use popward_proto::bounded::List;
use popward_proto::keys::{FrontToKeys, KeyId, KeysPhase, KeysToFront, TicketKey, TicketKeys};
use popward_sys::channel::{Channel, PacketBuffer, socket_pair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConnection,
    SignatureScheme,
};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// A self-signed certificate and its key.
struct Pair {
    directory: tempfile::TempDir,
    certificate: CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
}

impl Pair {
    fn new(name: &str, bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |file: &str| directory.path().join(file);
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
            .arg(format!("/CN={name}"))
            .args(["-addext", &format!("subjectAltName=DNS:{name}")])
            .args(["-addext", &format!("nsComment={}", "x".repeat(bytes))])
            .arg("-keyout")
            .arg(at("key.pem"))
            .arg("-out")
            .arg(at("cert.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let key = PrivateKeyDer::from_pem_file(at("key.pem")).unwrap();
        let provider = crate::tls::provider();
        Self {
            certificate: CertificateDer::from_pem_file(at("cert.pem")).unwrap(),
            key: provider.key_provider.load_private_key(key).unwrap(),
            directory,
        }
    }

    fn file(&self) -> OwnedFd {
        let path = self.directory.path().join("cert.pem");
        File::open(Path::new(&path)).unwrap().into()
    }
}

/// A keys process that signs with `key` and gives these ticket keys.
fn keys(key: Arc<dyn SigningKey>, tickets: TicketKeys) -> Arc<Keys> {
    let (ours, theirs) = socket_pair().unwrap();
    std::thread::spawn(move || {
        let mut theirs: Channel<KeysToFront, FrontToKeys> = Channel::new(theirs, KeysPhase::Idle);
        let mut buffer = PacketBuffer::for_messages();
        while let Ok((request, _)) = theirs.receive(&mut buffer) {
            let answer = match request {
                FrontToKeys::Sign {
                    scheme, message, ..
                } => {
                    let signer = key.choose_scheme(&[SignatureScheme::from(scheme)]).unwrap();
                    let signature = signer.sign(message.as_slice()).unwrap();
                    KeysToFront::Signature(List::try_from(signature).unwrap())
                }
                FrontToKeys::Tickets => KeysToFront::Tickets(tickets.clone()),
            };
            if theirs.send(&answer).is_err() {
                return;
            }
        }
    });
    let keys = Arc::new(Keys::default());
    keys.replace(ours);
    keys
}

fn ticket_keys(current: u8, previous: Option<u8>) -> TicketKeys {
    let key = |number| TicketKey {
        name: [number; 16],
        secret: [number; 32],
    };
    TicketKeys {
        current: key(current),
        previous: previous.map(key),
        left_ms: 60_000,
    }
}

/// The rules of a front with this certificate.
fn rules(server: &Pair, ca: Option<&Pair>, only_1_3: bool, tickets: TicketKeys) -> Rules {
    let keys = keys(Arc::clone(&server.key), tickets);
    let facts = KeyFacts {
        key: KeyId(0),
        schemes: List::try_from(vec![0x0403]).unwrap(),
        public_key: List::try_from(server.key.public_key().unwrap().to_vec()).unwrap(),
    };
    let mut set = CertificateSet::default();
    if let Some(ca) = ca {
        set.authorities(ca.file());
    }
    set.certificate(facts, server.file());
    let settings = TlsSettings {
        only_1_3,
        ticket_ms: 60_000,
    };
    let tickets = Arc::new(Tickets::new(Arc::clone(&keys), settings.ticket_ms));
    set.rules(settings, &keys, &tickets).unwrap()
}

/// A client's verifier that accepts any server, because these tests are about the client.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A client that shows this chain with this key, even if they do not match. It counts the
/// authorities that servers name.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>, Mutex<usize>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() += hints.len();
        self.0.clone()
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn client(
    version: &'static rustls::SupportedProtocolVersion,
    shows: Option<CertifiedKey>,
) -> (ClientConfig, Arc<Shows>) {
    let shows = Arc::new(Shows(shows.map(Arc::new), Mutex::new(0)));
    let config = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_client_cert_resolver(Arc::clone(&shows) as _);
    (config, shows)
}

/// Both ends of a complete handshake, and what the client showed.
struct Both {
    client: ClientConnection,
    server: ServerConnection,
    shown: Option<ClientCertificate>,
}

fn handshake(rules: &Rules, config: &ClientConfig) -> Result<Both, Error> {
    let name = ServerName::try_from("mail.example.org").unwrap();
    let mut client = ClientConnection::new(Arc::new(config.clone()), name)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &bytes[..]).unwrap();
    let accepted = acceptor.accept().map_err(|(error, _)| error)?.unwrap();
    let (config, witness) = rules.begin(&accepted.client_hello());
    let mut server = accepted
        .into_connection(config)
        .map_err(|(error, _)| error)?;
    server.process_new_packets()?;
    // Goes on until both ends have nothing to send, because tickets come last.
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut left = &bytes[..];
        while !left.is_empty() {
            client.read_tls(&mut left).unwrap();
            client.process_new_packets()?;
        }
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut left = &bytes[..];
        while !left.is_empty() {
            server.read_tls(&mut left).unwrap();
            server.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let shown = witness.and_then(|witness| witness.take());
    Ok(Both {
        client,
        server,
        shown,
    })
}

fn kind(rules: &Rules, config: &ClientConfig) -> HandshakeKind {
    let both = handshake(rules, config).unwrap();
    both.server.handshake_kind().unwrap()
}

#[test]
fn sessions_resume_at_another_front_until_two_key_rotations() {
    let server = Pair::new("mail.example.org", 0);
    let one = rules(&server, None, false, ticket_keys(1, None));
    let other = rules(&server, None, false, ticket_keys(1, None));
    let rotated = rules(&server, None, false, ticket_keys(2, Some(1)));
    let gone = rules(&server, None, false, ticket_keys(4, Some(3)));
    for version in [&TLS13, &TLS12] {
        let (config, _) = client(version, None);
        assert_eq!(kind(&one, &config), HandshakeKind::Full);
        assert_eq!(kind(&other, &config), HandshakeKind::Resumed);
        assert_eq!(kind(&rotated, &config), HandshakeKind::Resumed);
        // The server before gave a new ticket, sealed with key 2.
        assert_eq!(kind(&gone, &config), HandshakeKind::Full, "{version:?}");
    }
}

#[test]
fn a_client_certificate_is_kept_with_its_signature_and_gets_no_ticket() {
    let server = Pair::new("mail.example.org", 0);
    let alice = Pair::new("alice.example.org", 0);
    let rules = rules(&server, Some(&alice), false, ticket_keys(1, None));
    let pair = CertifiedKey::new(vec![alice.certificate.clone()], Arc::clone(&alice.key));
    let (config, shows) = client(&TLS13, Some(pair.clone()));
    for _ in 0..2 {
        let both = handshake(&rules, &config).unwrap();
        assert_eq!(both.server.handshake_kind(), Some(HandshakeKind::Full));
        let shown = both.shown.unwrap();
        let chain: Vec<&[u8]> = shown.chain.as_slice().iter().map(List::as_slice).collect();
        assert_eq!(chain, [&alice.certificate[..]]);
        let context = [&[b' '; 64][..], b"TLS 1.3, client CertificateVerify\0"].concat();
        assert!(shown.signed.as_slice().starts_with(&context));
        assert!(matches!(shown.signed.as_slice().len(), 130 | 146));
        assert_eq!(shown.scheme, 0x0403);
        let signed = (shown.signed.as_slice(), shown.signature.as_slice());
        assert!(verifies(&alice, signed), "auth can see for itself");
        assert!(!verifies(&server, signed));
    }
    assert_eq!(
        *shows.1.lock().unwrap(),
        2,
        "one authority was named, twice"
    );
    // A client without a certificate completes the handshake, and resumes.
    let (config, shows) = client(&TLS13, None);
    assert!(handshake(&rules, &config).unwrap().shown.is_none());
    assert_eq!(kind(&rules, &config), HandshakeKind::Resumed);
    assert_eq!(*shows.1.lock().unwrap(), 1);
    // In TLS 1.2 the certificate is checked, but not kept. (This client is asked although it speaks
    // TLS 1.2, because the library names the suites of TLS 1.3 all the same.)
    let (config, _) = client(&TLS12, Some(pair));
    let both = handshake(&rules, &config).unwrap();
    assert!(both.server.peer_certificates().is_some() && both.shown.is_none());
}

fn verifies(pair: &Pair, (signed, signature): (&[u8], &[u8])) -> bool {
    let algorithms = crate::tls::provider().signature_verification_algorithms;
    let known = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
    let point = pair.key.public_key().unwrap();
    // The public key's bits follow the header of SubjectPublicKeyInfo.
    let point = &point[point.len() - 65..];
    let verified = known.unwrap().1[0].verify_signature(point, signed, signature);
    verified.is_ok()
}

#[test]
fn a_certificate_without_its_key_ends_the_handshake() {
    let server = Pair::new("mail.example.org", 0);
    let (alice, mallory) = (Pair::new("alice", 0), Pair::new("mallory", 0));
    let rules = rules(&server, Some(&alice), false, ticket_keys(1, None));
    let stolen = CertifiedKey::new(vec![alice.certificate.clone()], Arc::clone(&mallory.key));
    let (config, _) = client(&TLS13, Some(stolen));
    let error = handshake(&rules, &config).err().unwrap();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
}

#[test]
fn p8_a_chain_out_of_bounds_is_ignored_and_the_handshake_goes_on() {
    let server = Pair::new("mail.example.org", 0);
    let alice = Pair::new("alice", 0);
    let large = Pair::new("alice", 3000);
    let rules = rules(&server, Some(&alice), false, ticket_keys(1, None));
    for chain in [
        vec![alice.certificate.clone(); 5],
        vec![alice.certificate.clone(), large.certificate.clone()],
    ] {
        let pair = CertifiedKey::new(chain, Arc::clone(&alice.key));
        let (config, _) = client(&TLS13, Some(pair));
        assert!(handshake(&rules, &config).unwrap().shown.is_none());
        assert_eq!(kind(&rules, &config), HandshakeKind::Full, "no ticket");
    }
}

#[test]
fn both_ends_have_the_same_channel_binding_in_tls_1_3_only() {
    let server = Pair::new("mail.example.org", 0);
    let rules = rules(&server, None, false, ticket_keys(1, None));
    let (config, _) = client(&TLS13, None);
    let mut seen = Vec::new();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let both = handshake(&rules, &config).unwrap();
        assert_eq!(both.server.handshake_kind(), Some(kind));
        let label = b"EXPORTER-Channel-Binding";
        let theirs = both
            .client
            .export_keying_material([0; 32], label, Some(b""))
            .unwrap();
        assert_eq!(crate::tls::exporter(&both.server), Some(theirs));
        seen.push(theirs);
    }
    assert_ne!(seen[0], seen[1], "each connection has its own");
    let (config, _) = client(&TLS12, None);
    let both = handshake(&rules, &config).unwrap();
    assert_eq!(crate::tls::exporter(&both.server), None);
}

#[test]
fn alpn_agrees_on_pop3_only() {
    let server = Pair::new("mail.example.org", 0);
    let rules = rules(&server, None, false, ticket_keys(1, None));
    for version in [&TLS13, &TLS12] {
        for (offered, agreed) in [
            (&[][..], Ok(None)),
            (&["pop3"], Ok(Some(&b"pop3"[..]))),
            (&["imap", "pop3"], Ok(Some(b"pop3"))),
            (&["h2", "http/1.1"], Err(Error::NoApplicationProtocol)),
            (&["POP3"], Err(Error::NoApplicationProtocol)),
        ] {
            let (mut config, _) = client(version, None);
            config.resumption = Resumption::disabled();
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().into()).collect();
            let both = handshake(&rules, &config);
            let got = both.map(|both| both.client.alpn_protocol().map(<[u8]>::to_vec));
            assert_eq!(
                got,
                agreed.map(|name| name.map(<[u8]>::to_vec)),
                "{offered:?}"
            );
        }
    }
}

#[test]
fn tls_1_2_is_refused_if_tls_1_3_is_the_minimum() {
    let server = Pair::new("mail.example.org", 0);
    let rules = rules(&server, None, true, ticket_keys(1, None));
    assert!(handshake(&rules, &client(&TLS13, None).0).is_ok());
    assert!(handshake(&rules, &client(&TLS12, None).0).is_err());
}

#[test]
fn the_servers_order_of_suites_decides_unless_the_client_prefers_chacha20() {
    use CipherSuite as S;
    let server = Pair::new("mail.example.org", 0);
    let rules = rules(&server, None, false, ticket_keys(1, None));
    let (aes_128, aes_256) = (S::TLS13_AES_128_GCM_SHA256, S::TLS13_AES_256_GCM_SHA384);
    let chacha = S::TLS13_CHACHA20_POLY1305_SHA256;
    let old = S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    for (version, offered, chosen) in [
        (&TLS13, vec![aes_256, chacha, aes_128], aes_128),
        (&TLS13, vec![aes_256, chacha], aes_256),
        (&TLS13, vec![chacha, aes_128], chacha),
        (
            &TLS12,
            vec![S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, old],
            old,
        ),
    ] {
        let mut provider = Arc::unwrap_or_clone(crate::tls::provider());
        let all = std::mem::take(&mut provider.cipher_suites);
        let find = |wanted: &S| *all.iter().find(|suite| suite.suite() == *wanted).unwrap();
        provider.cipher_suites = offered.iter().map(find).collect();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        let both = handshake(&rules, &config).unwrap();
        let suite = both.server.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, chosen, "{offered:?}");
    }
    let grease = S::from(0x1a1a);
    assert_eq!(order(&[grease, chacha, aes_128]), Order::Clients);
    assert_eq!(order(&[grease, aes_256, chacha]), Order::Ours);
}
