//! A proxy's connection before its header is complete.
//!
//! The header is looked at where it lies, in the socket's buffer, and taken from there when it is whole: so it costs no
//! memory of ours before, and not a byte of what follows it (a TLS handshake, or nothing) is taken with it.

use super::header::{self, Malformed, Origin};
use crate::handle::Handle;
use mio::net::TcpStream;
use popward_proto::account::SessionId;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Instant;

/// A connection of a proxy that has yet to say whose it is.
pub(crate) struct Caller {
    /// Its place in the table.
    pub(crate) handle: Handle,
    /// Its name to the other processes, once they hear of it.
    pub(crate) id: SessionId,
    /// Its stream.
    pub(crate) stream: TcpStream,
    /// The proxy.
    pub(crate) peer: SocketAddr,
    /// Whether TLS begins behind the header.
    pub(crate) tls: bool,
    /// Whether the socket may have something to read.
    pub(crate) readable: bool,
    /// Whether the proxy is known to send nothing more after what is in the socket.
    pub(crate) half_closed: bool,
    /// When it was accepted.
    pub(crate) accepted: Instant,
}

/// What listening to a proxy came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The header is not complete.
    Nothing,
    /// It is, and taken from the socket.
    Header(Origin),
    /// It is none.
    Malformed(Malformed),
    /// The connection has ended before: as checks do that only look whether somebody listens.
    End,
}

impl Caller {
    /// Looks at what has come so far. `buffer` is shared by all, and at least [`header::MAX`] bytes.
    pub(crate) fn hear(&mut self, buffer: &mut [u8]) -> Heard {
        while self.readable {
            match self.stream.peek(buffer) {
                Ok(0) => return Heard::End,
                Ok(length) => match header::parse(&buffer[..length]) {
                    // More of it is another edge.
                    Ok(None) => self.readable = false,
                    Ok(Some(header)) => {
                        return self.take(&mut buffer[..header.length], header.origin);
                    }
                    Err(malformed) => return Heard::Malformed(malformed),
                },
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.readable = false,
                    ErrorKind::Interrupted => {}
                    _ => return Heard::End,
                },
            }
        }
        if self.half_closed {
            Heard::End
        } else {
            Heard::Nothing
        }
    }

    /// Takes from the socket what was seen to be in it.
    fn take(&mut self, header: &mut [u8], origin: Origin) -> Heard {
        match self.stream.read_exact(header) {
            Ok(()) => Heard::Header(origin),
            Err(_) => Heard::End,
        }
    }
}
