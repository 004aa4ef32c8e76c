//! What the benches of the real executables share.

use crate::host::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Prints a line.
pub fn say(text: &str) {
    std::io::stdout()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
}

/// The median, in milliseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Processor time so far in milliseconds: of supervisor, monitor, sessions and popward-log, of
/// the ended workers, of the front, of auth.
pub fn processor(host: &Host) -> [f64; 4] {
    // utime, stime, cutime and cstime are fields 14 to 17 of proc(5), in ticks of 10 ms. They mean
    // something only over many sessions.
    let times = |pid: i32| -> [f64; 2] {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let sum = |fields: &[&str]| {
            fields
                .iter()
                .map(|field| field.parse::<f64>().unwrap() * 10.0)
                .sum()
        };
        [sum(&fields[11..13]), sum(&fields[13..15])]
    };
    let [sessions, workers] = times(host.sessions());
    let one = |name: &str| times(host.children(name)[0])[0];
    let roots = [host.pid(), host.monitor()].map(|pid| times(pid)[0]);
    let roots = roots[0] + roots[1] + sessions + one("popward-log");
    [roots, workers, one("popward-front"), one("popward-auth")]
}

/// A connection with TLS, before its greeting.
pub fn tls(host: &Host) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(host.at("cert.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", host.tls)).unwrap();
    socket.set_nodelay(true).unwrap();
    StreamOwned::new(connection, socket)
}
