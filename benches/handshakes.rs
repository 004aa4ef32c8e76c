//! What it costs that private keys are in a process of their own. Measures the server's part of a
//! TLS 1.3 handshake with a key of popward-keys, with the same key in this process, and with a
//! ticket. One thread, in memory, without a network.
//!
//!     ./build && POPWARD_EXECUTABLES=$PWD/target/release cargo bench --bench handshakes

#![allow(
    clippy::unwrap_used,
    clippy::pedantic,
    reason = "a bench may fail, and rounds"
)]

#[path = "../tests/host/mod.rs"]
mod host;

use popward_front::tls::remote_key::{Keys, RemoteKey};
use popward_front::tls::tickets::Tickets;
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::keys::KeyId;
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor, MonitorToKeys};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, PacketBuffer, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, spawn};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many handshakes are timed.
const ROUNDS: usize = 3000;

fn main() {
    // `cargo test --benches` runs this as well. It then measures nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for (name, kind) in [("ECDSA P-256", host::P256), ("RSA 2048", &["rsa:2048"])] {
        let directory = tempfile::tempdir().unwrap();
        host::certificate(directory.path(), kind);
        let started = Started::new(directory.path());
        let remote = RemoteKey::new(Arc::clone(&started.keys), &started.facts).unwrap();
        let pem = PrivateKeyDer::from_pem_file(directory.path().join("key.pem")).unwrap();
        let local = default_provider().key_provider.load_private_key(pem);
        for (place, key) in [
            (
                "in a process of its own",
                Arc::new(remote) as Arc<dyn SigningKey>,
            ),
            ("in this process", local.unwrap()),
        ] {
            let times = measure(directory.path(), key, &started.keys, HandshakeKind::Full);
            say(&format!("{name}, {place}"), times);
        }
        let key = RemoteKey::new(Arc::clone(&started.keys), &started.facts).unwrap();
        let kind = HandshakeKind::Resumed;
        let times = measure(directory.path(), Arc::new(key), &started.keys, kind);
        say(&format!("{name}, resumed"), times);
    }
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let median = times[times.len() / 2];
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{what:40} median {:5} µs, {:6.0} a second",
        median.as_micros(),
        1.0 / mean.as_secs_f64()
    )
    .unwrap();
}

/// A popward-keys with a key, started as the monitor starts it.
struct Started {
    keys: Arc<Keys>,
    facts: KeyFacts,
    child: Child,
}

impl Started {
    fn new(directory: &Path) -> Self {
        let (control, control_theirs) = socket_pair().unwrap();
        let (log, log_theirs) = socket_pair().unwrap();
        let (front, front_theirs) = socket_pair().unwrap();
        let null = File::options().read(true).write(true).open("/dev/null");
        let empty = directory.join("empty");
        std::fs::create_dir(&empty).unwrap();
        let identity = host::root().then(|| ChildIdentity {
            uid: host::KEYS,
            gid: host::KEYS,
            effective_gid: host::KEYS,
            groups: Vec::new(),
            keep_chroot: true,
        });
        // A place where the user of keys may execute it.
        let libexec = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(libexec.path(), open).unwrap();
        host::install(&libexec.path().join("at"));
        let child = spawn(&Spawn {
            executable: &libexec.path().join("at/popward-keys"),
            arguments: &["popward-keys"],
            null: null.unwrap().as_fd(),
            descriptors: &[control_theirs.as_fd(), log_theirs.as_fd()],
            directory: File::open(&empty).unwrap().as_fd(),
            identity: identity.as_ref(),
        })
        .unwrap();
        drop((control_theirs, log_theirs));
        let mut control: Channel<MonitorToKeys, KeysToMonitor> =
            Channel::new(control, SetupPhase::Starting);
        let settings = MonitorToKeys::Settings {
            version: VERSION,
            ticket_ms: 3_600_000,
        };
        control.send(&settings).unwrap();
        let mut buffer = PacketBuffer::for_messages();
        assert!(matches!(
            control.receive(&mut buffer).unwrap(),
            (KeysToMonitor::Ready { .. }, _)
        ));
        control.enter(SetupPhase::Serving);
        let file: OwnedFd = File::open(directory.join("key.pem")).unwrap().into();
        let key = MonitorToKeys::Key(KeyId(0));
        control.send_with(&key, &[file.as_fd()]).unwrap();
        let (KeysToMonitor::Loaded(facts), _) = control.receive(&mut buffer).unwrap() else {
            panic!("the key was not loaded");
        };
        let introduced = MonitorToKeys::Front(FrontId(1));
        control
            .send_with(&introduced, &[front_theirs.as_fd()])
            .unwrap();
        let keys = Arc::new(Keys::default());
        keys.replace(front);
        // keys ends when these are closed.
        std::mem::forget((control, log));
        Self { keys, facts, child }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.pid as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(pid, None).unwrap();
    }
}

/// How long the server's part of each of [`ROUNDS`] handshakes took.
fn measure(
    directory: &Path,
    key: Arc<dyn SigningKey>,
    keys: &Arc<Keys>,
    kind: HandshakeKind,
) -> Vec<Duration> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let certificate = CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap();
    let certified = CertifiedKey::new(vec![certificate.clone()], key);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.ticketer = Arc::new(Tickets::new(Arc::clone(keys), 3_600_000));
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 1;
    let server = Arc::new(server);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if kind == HandshakeKind::Full {
        client.resumption = Resumption::disabled();
    }
    let client = Arc::new(client);
    // The first handshakes warm up, and get the ticket.
    let mut times = Vec::new();
    for round in 0..ROUNDS + 100 {
        let (time, was) = handshake(&client, &server);
        if round >= 100 {
            assert_eq!(was, kind);
            times.push(time);
        }
    }
    times
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Duration, HandshakeKind) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let begun = Instant::now();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &bytes[..]).unwrap();
    let accepted = acceptor.accept().ok().unwrap().unwrap();
    let mut server = accepted.into_connection(Arc::clone(server)).ok().unwrap();
    bytes.clear();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    let mut time = begun.elapsed();
    let mut left = &bytes[..];
    while !left.is_empty() {
        client.read_tls(&mut left).unwrap();
        client.process_new_packets().unwrap();
    }
    bytes.clear();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let begun = Instant::now();
    let mut left = &bytes[..];
    while !left.is_empty() {
        server.read_tls(&mut left).unwrap();
        server.process_new_packets().unwrap();
    }
    bytes.clear();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    time += begun.elapsed();
    let mut left = &bytes[..];
    while !left.is_empty() {
        client.read_tls(&mut left).unwrap();
        client.process_new_packets().unwrap();
    }
    (time, server.handshake_kind().unwrap())
}
