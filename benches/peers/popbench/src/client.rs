//! A blocking POP3 client over plain TCP or TLS.
use crate::{die, Args};
use memchr::{memchr, memmem};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::io::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq)]
pub enum Tls {
    None,
    Stls,
    Implicit,
}

#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    pub tls: Tls,
    pub user: String,
    pub users: u64,
    pub first: u64,
    pub pass: String,
    pub src_n: u64,
    pub delack: bool,
    pub timeout: Duration,
    cfg: Option<Arc<ClientConfig>>,
}

#[derive(Debug)]
struct AnyCert(Arc<rustls::crypto::CryptoProvider>);
impl rustls::client::danger::ServerCertVerifier for AnyCert {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub fn any_cert_config() -> Arc<ClientConfig> {
    let p = Arc::new(rustls::crypto::ring::default_provider());
    let mut c = ClientConfig::builder_with_provider(p.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCert(p)))
        .with_no_client_auth();
    // Full handshakes: resumption would flatter the server.
    c.resumption = rustls::client::Resumption::disabled();
    Arc::new(c)
}

impl Target {
    pub fn from(a: &Args) -> Target {
        let addr: SocketAddr = a
            .req("host")
            .parse()
            .unwrap_or_else(|_| die("--host is ADDRESS:PORT"));
        if !addr.ip().is_loopback() {
            die("only loopback addresses are allowed");
        }
        let tls = match a.str("tls", "none").as_str() {
            "none" => Tls::None,
            "stls" => Tls::Stls,
            "implicit" => Tls::Implicit,
            _ => die("--tls none|stls|implicit"),
        };
        Target {
            addr,
            tls,
            user: a.str("user", "user%04d"),
            users: a.num("users", 1).max(1),
            first: a.num("first", 1),
            pass: a.str("pass", "benchpw"),
            src_n: a.num("src-n", 1).max(1),
            delack: a.get("delack").is_some(),
            timeout: Duration::from_secs(a.num("timeout", 300)),
            cfg: (tls != Tls::None).then(any_cert_config),
        }
    }
    pub fn user_name(&self, i: u64) -> String {
        let n = self.first + i % self.users;
        self.user.replace("%04d", &format!("{n:04}"))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub struct Pop {
    s: Option<Stream>,
    buf: Vec<u8>,
    a: usize,
    b: usize,
    pub got: u64,
    fd: i32,
    delack: bool,
}

const BUF: usize = 256 * 1024;

fn bad(m: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, m)
}

impl Pop {
    /// Connects, reads the greeting and does TLS as the target asks.
    pub fn connect(t: &Target, i: u64, small: bool) -> io::Result<Pop> {
        let s = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        if t.src_n > 1 {
            let k = (i % t.src_n) as u32;
            let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + k);
            s.bind(&SocketAddr::V4(SocketAddrV4::new(ip, 0)).into())?;
        }
        s.set_read_timeout(Some(t.timeout))?;
        s.set_write_timeout(Some(t.timeout))?;
        s.connect(&t.addr.into())?;
        s.set_nodelay(true)?;
        let tcp: TcpStream = s.into();
        let fd = tcp.as_raw_fd();
        let mut p = Pop {
            s: Some(Stream::Plain(tcp)),
            buf: vec![0; if small { 2048 } else { BUF }],
            a: 0,
            b: 0,
            got: 0,
            fd,
            delack: t.delack,
        };
        if t.tls == Tls::Implicit {
            p.start_tls(t)?;
        }
        p.ok()?;
        if t.tls == Tls::Stls {
            p.cmd("STLS")?;
            p.start_tls(t)?;
        }
        Ok(p)
    }
    fn start_tls(&mut self, t: &Target) -> io::Result<()> {
        let Some(Stream::Plain(tcp)) = self.s.take() else {
            unreachable!()
        };
        let name = ServerName::try_from("localhost").unwrap();
        let c =
            ClientConnection::new(t.cfg.clone().unwrap(), name).map_err(|e| bad(e.to_string()))?;
        let mut so = StreamOwned::new(c, tcp);
        while so.conn.is_handshaking() {
            so.conn.complete_io(&mut so.sock)?;
        }
        self.s = Some(Stream::Tls(Box::new(so)));
        Ok(())
    }
    fn fill(&mut self) -> io::Result<usize> {
        if self.a == self.b {
            self.a = 0;
            self.b = 0;
        } else if self.b == self.buf.len() {
            self.buf.copy_within(self.a..self.b, 0);
            self.b -= self.a;
            self.a = 0;
            if self.b == self.buf.len() {
                return Err(bad("line too long".into()));
            }
        }
        if !self.delack {
            // Acknowledge at once: else a server that writes a reply in two parts
            // without TCP_NODELAY stands still for 40 ms at each.
            let one: libc::c_int = 1;
            unsafe {
                libc::setsockopt(
                    self.fd,
                    libc::IPPROTO_TCP,
                    libc::TCP_QUICKACK,
                    &one as *const _ as *const libc::c_void,
                    4,
                );
            }
        }
        let r = match self.s.as_mut().unwrap() {
            Stream::Plain(s) => s.read(&mut self.buf[self.b..]),
            Stream::Tls(s) => s.read(&mut self.buf[self.b..]),
        };
        let n = r?;
        self.b += n;
        self.got += n as u64;
        Ok(n)
    }
    pub fn send(&mut self, b: &[u8]) -> io::Result<()> {
        match self.s.as_mut().unwrap() {
            Stream::Plain(s) => s.write_all(b),
            Stream::Tls(s) => {
                s.write_all(b)?;
                s.flush()
            }
        }
    }
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(i) = memchr(b'\n', &self.buf[self.a..self.b]) {
                let l = String::from_utf8_lossy(&self.buf[self.a..self.a + i])
                    .trim_end()
                    .to_string();
                self.a += i + 1;
                return Ok(l);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    pub fn ok(&mut self) -> io::Result<String> {
        let l = self.line()?;
        if l.starts_with("+OK") {
            Ok(l)
        } else {
            Err(bad(l))
        }
    }
    pub fn cmd(&mut self, c: &str) -> io::Result<String> {
        let mut v = Vec::with_capacity(c.len() + 2);
        v.extend_from_slice(c.as_bytes());
        v.extend_from_slice(b"\r\n");
        self.send(&v)?;
        self.ok()
    }
    /// Reads a multi-line body up to its lone dot.  Returns its size in bytes
    /// without the terminator; keeps the text when `keep` is given.
    pub fn multi(&mut self, mut keep: Option<&mut Vec<u8>>) -> io::Result<u64> {
        let mut total = 0u64;
        // An empty body is the terminator alone.
        while self.b - self.a < 3 {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if &self.buf[self.a..self.a + 3] == b".\r\n" {
            self.a += 3;
            return Ok(0);
        }
        let f = memmem::Finder::new(b"\r\n.\r\n");
        loop {
            if let Some(i) = f.find(&self.buf[self.a..self.b]) {
                if let Some(k) = keep.as_mut() {
                    k.extend_from_slice(&self.buf[self.a..self.a + i + 2]);
                }
                total += i as u64 + 2;
                self.a += i + 5;
                return Ok(total);
            }
            let n = (self.b - self.a).saturating_sub(4);
            if let Some(k) = keep.as_mut() {
                k.extend_from_slice(&self.buf[self.a..self.a + n]);
            }
            total += n as u64;
            self.a += n;
            if self.b == self.buf.len() {
                self.buf.copy_within(self.a..self.b, 0);
                self.b -= self.a;
                self.a = 0;
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    pub fn login(&mut self, user: &str, pass: &str) -> io::Result<(u64, u64)> {
        let t = Instant::now();
        self.cmd(&format!("USER {user}"))?;
        let u = t.elapsed().as_nanos() as u64;
        let t = Instant::now();
        self.cmd(&format!("PASS {pass}"))?;
        Ok((u, t.elapsed().as_nanos() as u64))
    }
    pub fn wait_eof(&mut self) -> bool {
        loop {
            self.a = 0;
            self.b = 0;
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => continue,
                // A reset, or TLS without close_notify, ends it too.
                Err(e) => return !matches!(e.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }
}
