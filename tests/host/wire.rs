//! A client's connection: in the clear, over TLS from the start, or over TLS after STLS. It uses
//! rustls in the test's own process, so a test decides what is one write and what is one TLS
//! record.

use super::{Host, PATIENCE};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Clear,
    /// TLS begins with the connection (RFC 8314).
    Implicit,
    /// TLS begins with STLS (RFC 2595).
    Stls,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection that gives the server's lines one by one.
pub struct Wire {
    /// `None` only while the connection goes over to TLS.
    stream: Option<Stream>,
    config: Arc<ClientConfig>,
    /// Bytes that have come and are no whole line yet.
    partial: Vec<u8>,
    ended: bool,
}

/// A configuration that believes this host's certificate and no other.
pub fn config(host: &Host) -> Arc<ClientConfig> {
    let config = believes(host).with_no_client_auth();
    Arc::new(config)
}

/// As [`config`], with a client certificate for servers that ask for one: `own.pem` and `own.key`
/// of this directory.
pub fn config_with_certificate(host: &Host, directory: &Path) -> Arc<ClientConfig> {
    let own = CertificateDer::from_pem_file(directory.join("own.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("own.key")).unwrap();
    let config = believes(host).with_client_auth_cert(vec![own], key);
    Arc::new(config.unwrap())
}

fn believes(host: &Host) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(host.at("cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    ClientConfig::builder().with_root_certificates(roots)
}

impl Wire {
    /// Connects, and returns the connection and its greeting. With STLS, it reads the reply to STLS
    /// and begins TLS.
    pub fn connect(host: &Host, config: &Arc<ClientConfig>, security: Security) -> (Self, String) {
        let port = match security {
            Security::Implicit => host.tls,
            Security::Clear | Security::Stls => host.plain,
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self {
            stream: Some(Stream::Clear(stream)),
            config: Arc::clone(config),
            partial: Vec::new(),
            ended: false,
        };
        if security == Security::Implicit {
            wire.secure();
        }
        let greeting = wire.line().unwrap();
        if security == Security::Stls {
            wire.send(b"STLS\r\n");
            let reply = wire.line().unwrap();
            assert!(reply.starts_with("+OK"), "{reply}");
            wire.secure();
        }
        (wire, greeting)
    }

    /// Makes the TLS handshake.
    pub fn secure(&mut self) {
        assert!(
            self.partial.is_empty(),
            "in the clear, behind STLS: {:?}",
            self.partial
        );
        let Some(Stream::Clear(stream)) = self.stream.take() else {
            panic!("TLS is active");
        };
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = stream;
        while connection.is_handshaking() {
            match connection.complete_io(&mut stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => drop(done.unwrap()),
            }
        }
        self.stream = Some(Stream::Tls(Box::new(StreamOwned::new(connection, stream))));
    }

    /// What SCRAM binds a login over this connection to (RFC 9266, `tls-exporter`). `None` in the
    /// clear.
    pub fn binding(&self) -> Option<[u8; 32]> {
        let Some(Stream::Tls(stream)) = &self.stream else {
            return None;
        };
        let exported =
            stream
                .conn
                .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        Some(exported.unwrap())
    }

    /// Sends these bytes in one write, which over TLS is one record. It is no error if the server
    /// has gone, because the test still reads what the server said before.
    pub fn send(&mut self, bytes: &[u8]) {
        let stream = self.stream.as_mut().unwrap();
        let _ = match stream {
            Stream::Clear(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
    }

    /// Ends this side of the connection, without TLS's close_notify.
    pub fn shut(&mut self) {
        let stream = match self.stream.as_ref().unwrap() {
            Stream::Clear(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        };
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// The next line without its CRLF. `None` at the end of the connection. Bytes that are not
    /// UTF-8 are shown as `\xNN`.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n");
                return Some(shown(line.unwrap()));
            }
            if self.ended {
                assert!(self.partial.is_empty(), "a line without end");
                return None;
            }
            let mut buffer = [0; 16384];
            let read = match self.stream.as_mut().unwrap() {
                Stream::Clear(stream) => stream.read(&mut buffer),
                Stream::Tls(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => self.ended = true,
                Ok(length) => self.partial.extend_from_slice(&buffer[..length]),
                Err(error) => match error.kind() {
                    // The kernel does not begin a call with a time limit again (signal(7)).
                    ErrorKind::Interrupted => {}
                    // A reset, or TLS that ends without a close_notify, is an end, too.
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => self.ended = true,
                    ErrorKind::WouldBlock => panic!("nothing was said in time"),
                    _ => panic!("{error:?}"),
                },
            }
        }
    }
}

/// A line as text.
fn shown(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => line.escape_ascii().to_string(),
    }
}
