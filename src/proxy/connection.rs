//! A proxy's connection before its header is complete.
//!
//! The front looks at the header in the socket's buffer, and takes it from there only when it is
//! complete. So an incomplete header uses no memory of this process. The bytes that follow the
//! header, such as a TLS handshake, stay in the socket.

use super::header::{self, Malformed, Origin};
use crate::handle::Handle;
use mio::net::TcpStream;
use popward_proto::account::SessionId;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Instant;

/// A connection of a proxy that has not sent its header yet.
pub(crate) struct ProxyConnection {
    /// Its place in the table.
    pub(crate) handle: Handle,
    /// The name by which the other processes will know it.
    pub(crate) id: SessionId,
    /// Its stream.
    pub(crate) stream: TcpStream,
    /// The proxy's address.
    pub(crate) peer: SocketAddr,
    /// Whether TLS begins directly after the header.
    pub(crate) tls: bool,
    /// Whether the socket may have something to read.
    pub(crate) readable: bool,
    /// Whether the proxy has closed its side: it sends nothing more after what is in the socket.
    pub(crate) half_closed: bool,
    /// When it was accepted.
    pub(crate) accepted: Instant,
}

/// The result of looking for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    /// The header is not complete.
    Incomplete,
    /// The header is complete and was taken from the socket.
    Header(Origin),
    /// The bytes are not a header.
    Malformed(Malformed),
    /// The connection ended before a header was complete. Health checks that only test whether a
    /// server listens do this.
    End,
}

impl ProxyConnection {
    /// Looks at the bytes that have come so far. `buffer` is shared by all connections and has at
    /// least [`header::MAX`] bytes.
    pub(crate) fn read_header(&mut self, buffer: &mut [u8]) -> HeaderRead {
        while self.readable {
            match self.stream.peek(buffer) {
                Ok(0) => return HeaderRead::End,
                Ok(length) => match header::parse(&buffer[..length]) {
                    // More bytes will be announced by another event.
                    Ok(None) => self.readable = false,
                    Ok(Some(header)) => {
                        return self.take(&mut buffer[..header.length], header.origin);
                    }
                    Err(malformed) => return HeaderRead::Malformed(malformed),
                },
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.readable = false,
                    ErrorKind::Interrupted => {}
                    _ => return HeaderRead::End,
                },
            }
        }
        if self.half_closed {
            HeaderRead::End
        } else {
            HeaderRead::Incomplete
        }
    }

    /// Takes the header from the socket. It was seen there already, so this does not wait.
    fn take(&mut self, header: &mut [u8], origin: Origin) -> HeaderRead {
        match self.stream.read_exact(header) {
            Ok(()) => HeaderRead::Header(origin),
            Err(_) => HeaderRead::End,
        }
    }
}
