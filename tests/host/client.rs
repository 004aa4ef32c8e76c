//! A POP3 client for tests.

use super::{PATIENCE, assert_ok};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// A POP3 client that sends what it is told, and checks nothing by itself.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// A connection to 127.0.0.1.
    pub fn new(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// A connection to 127.0.0.1 from `source`, another address of this host.
    pub fn from(source: &str, port: u16) -> Self {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket,
        };
        let address = |ip: &str, port| {
            SockaddrIn::from(std::net::SocketAddrV4::new(ip.parse().unwrap(), port))
        };
        let (kind, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
        let own = socket(AddressFamily::Inet, kind, flags, None).unwrap();
        bind(own.as_raw_fd(), &address(source, 0)).unwrap();
        connect(own.as_raw_fd(), &address("127.0.0.1", port)).unwrap();
        Self::over(TcpStream::from(own))
    }

    /// A client on an open connection.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The next line without its CRLF. At the end of the connection an empty text.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        if line.is_empty() {
            return String::new();
        }
        assert!(
            line.ends_with(b"\r\n"),
            "{:?}",
            String::from_utf8_lossy(&line)
        );
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Sends a command and returns the first line of its reply.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.line()
    }

    /// The rest of a multi-line reply, with dots unstuffed and LF line ends.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        loop {
            let line = self.line();
            if line == "." {
                return text;
            }
            text += line.strip_prefix('.').unwrap_or(&line);
            text.push('\n');
        }
    }

    /// Sends a command and returns the lines of its multi-line reply.
    pub fn multi(&mut self, command: &str) -> String {
        assert_ok(&self.ask(command));
        self.rest()
    }

    /// Everything until the server ends the connection. A reset is an end, too.
    pub fn until_end(&mut self) -> String {
        let mut text = Vec::new();
        let _ = self.stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
