//! One client's stream, plain or TLS, and the replies that the client has not taken yet.
//!
//! Sockets are edge-triggered: epoll reports only once that a socket became readable or writable.
//! `readable` and `writable` keep this report until a call would have blocked.

mod handshake;

use crate::tls::client_certificate::{ClientCertificate, Witness};
use crate::tls::handshake::QueuePlace;
pub(crate) use handshake::Handshake;
use mio::net::TcpStream;
use rustls::server::Acceptor;
use rustls::{HandshakeKind, ServerConnection};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// Most octets that TLS may hold of a client without result: the part of a record (at most 16 KiB),
/// or of the client's side of a handshake with its certificates.
const TLS_HELD_MAX: usize = 20 << 10;

/// What lies between the socket and POP3.
enum Layer {
    Plain,
    /// TLS. The `ClientHello` is not complete.
    Hello(Box<Acceptor>),
    /// TLS. A step of the handshake is with a thread, or waits in line for one.
    AtThread(Option<QueuePlace>),
    /// TLS. The handshake is between two steps, or complete.
    Tls(Box<ServerConnection>),
}

/// The result of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// This many bytes.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// The client ended the stream, or the socket failed.
    End,
}

/// Makes a system call on a socket until it is not interrupted. Returns its result. `None`: the
/// call would block, so `edge` is used up, or the socket failed, so it is `gone`.
fn call(
    edge: &mut bool,
    gone: &mut bool,
    mut call: impl FnMut() -> std::io::Result<usize>,
) -> Option<usize> {
    while *edge && !*gone {
        match call() {
            Ok(count) => return Some(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => *edge = false,
                ErrorKind::Interrupted => {}
                _ => *gone = true,
            },
        }
    }
    None
}

/// A client's stream.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about a socket, each an edge that epoll reported"
)]
pub(crate) struct Client {
    /// The socket.
    pub(crate) stream: TcpStream,
    layer: Layer,
    /// The witness of the client's certificate, until the handshake is complete.
    witness: Option<Arc<Witness>>,
    certificate: Option<Box<ClientCertificate>>,
    /// Replies that are to be sent: POP3's octets, before TLS.
    pub(crate) out: Vec<u8>,
    /// How many octets at the start of `out` the socket has taken.
    taken: usize,
    /// Whether the socket may have something to read.
    pub(crate) readable: bool,
    /// Whether the socket may take something.
    pub(crate) writable: bool,
    /// Whether the client has closed its side: it sends nothing more after what is in the socket.
    pub(crate) half_closed: bool,
    /// The socket failed. Nothing is read or written any more.
    pub(crate) gone: bool,
    /// When the client last took an octet.
    pub(crate) progress: Instant,
    /// POP3's octets that were sent, before TLS.
    pub(crate) sent: u64,
    /// Octets that the socket took, as they are on the wire.
    taken_by_socket: u64,
    /// How many of them the client's host had acknowledged at the last look.
    acknowledged: u64,
    /// Octets that TLS has read since they last gave a result.
    held_by_tls: usize,
}

impl Client {
    /// A client that has just connected. `tls`: TLS begins at once.
    pub(crate) fn new(stream: TcpStream, tls: bool, now: Instant) -> Self {
        Self {
            stream,
            layer: if tls {
                Layer::Hello(Box::default())
            } else {
                Layer::Plain
            },
            witness: None,
            certificate: None,
            out: Vec::new(),
            taken: 0,
            readable: false,
            writable: true,
            half_closed: false,
            gone: false,
            progress: now,
            sent: 0,
            taken_by_socket: 0,
            acknowledged: 0,
            held_by_tls: 0,
        }
    }

    /// Begins TLS with the next byte. The caller has dealt with the bytes that were read before.
    pub(crate) fn start_tls(&mut self) {
        self.layer = Layer::Hello(Box::default());
    }

    /// Whether TLS is active, or begins now.
    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self.layer, Layer::Plain)
    }

    /// Octets that the client's host has acknowledged: what the socket took, less what lies in its
    /// buffer. The buffer can hold megabytes, so what the socket took does not show a client's
    /// pace.
    pub(crate) fn acknowledged(&self) -> u64 {
        let waiting = popward_sys::socket::unacknowledged(self.stream.as_fd());
        self.taken_by_socket
            .saturating_sub(waiting.unwrap_or(0).into())
    }

    /// Whether the client's host has acknowledged more since the last call. If so, the client has
    /// made progress.
    pub(crate) fn advances(&mut self, now: Instant) -> bool {
        let acknowledged = self.acknowledged();
        let advances = acknowledged > self.acknowledged;
        self.acknowledged = acknowledged;
        if advances {
            self.progress = now;
        }
        advances
    }

    /// Whether the client's host has acknowledged everything that the socket took.
    pub(crate) fn has_all(&self) -> bool {
        self.acknowledged() == self.taken_by_socket
    }

    /// Whether octets wait until the client takes some.
    pub(crate) fn blocked(&self) -> bool {
        !self.writable && self.pending()
    }

    /// Whether octets wait to be sent.
    pub(crate) fn pending(&self) -> bool {
        !self.gone && (self.taken < self.out.len() || self.tls_pending())
    }

    fn tls_pending(&self) -> bool {
        matches!(&self.layer, Layer::Tls(tls) if tls.wants_write())
    }

    /// The TLS version and the cipher suite. `None`: there is no TLS.
    pub(crate) fn tls(&self) -> Option<String> {
        let Layer::Tls(tls) = &self.layer else {
            return None;
        };
        let (version, suite) = (tls.protocol_version()?, tls.negotiated_cipher_suite()?);
        Some(format!("{version:?}/{:?}", suite.suite()))
    }

    /// Whether the handshake was `full`, or `resumed` by a ticket. `None`: there is no TLS.
    pub(crate) fn handshake_kind(&self) -> Option<&'static str> {
        let Layer::Tls(tls) = &self.layer else {
            return None;
        };
        let kind = tls.handshake_kind()?;
        Some(match kind {
            HandshakeKind::Resumed => "resumed",
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => "full",
        })
    }

    /// The client's certificate, for EXTERNAL. Only a full TLS 1.3 handshake gives one.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_deref()
    }

    /// The channel binding `tls-exporter` (RFC 9266): only the two ends of this connection know it.
    /// `None` with TLS 1.2, where it is unique only with an extension, and the library does not say
    /// whether that was used.
    pub(crate) fn exporter(&self) -> Option<[u8; 32]> {
        match &self.layer {
            Layer::Tls(tls) => crate::tls::exporter(tls),
            _ => None,
        }
    }

    /// Reads what the client sent, as far as `buffer` goes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadResult {
        if self.gone {
            return ReadResult::End;
        }
        match &mut self.layer {
            Layer::Plain => self.read_socket(buffer),
            Layer::Hello(_) | Layer::AtThread(_) => ReadResult::Nothing,
            Layer::Tls(_) => self.read_tls(buffer),
        }
    }

    fn read_result(&self, count: Option<usize>) -> ReadResult {
        match count {
            Some(0) => ReadResult::End,
            Some(length) => ReadResult::Bytes(length),
            None if self.gone => ReadResult::End,
            None => ReadResult::Nothing,
        }
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> ReadResult {
        let read = || self.stream.read(buffer);
        let count = call(&mut self.readable, &mut self.gone, read);
        if let Some(length @ 1..) = count {
            // After a short read the socket is empty. This saves the call that would say so.
            self.readable = length == buffer.len() || self.half_closed;
        }
        self.read_result(count)
    }

    fn read_tls(&mut self, buffer: &mut [u8]) -> ReadResult {
        while let Layer::Tls(tls) = &mut self.layer {
            match tls.reader().read(buffer) {
                Ok(0) => return ReadResult::End,
                Ok(length) => {
                    self.held_by_tls = 0;
                    return ReadResult::Bytes(length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return ReadResult::End,
            }
            let read = self.read_records();
            let (Layer::Tls(tls), ReadResult::Bytes(_)) = (&mut self.layer, read) else {
                return read;
            };
            if tls.process_new_packets().is_err() {
                // Sends the alert, if the socket takes it. The stream ends in either case.
                let _ = tls.write_tls(&mut self.stream);
                self.gone = true;
                return ReadResult::End;
            }
        }
        ReadResult::Nothing
    }

    /// Lets TLS read from the socket.
    fn read_records(&mut self) -> ReadResult {
        if self.held_by_tls > TLS_HELD_MAX {
            self.gone = true;
            return ReadResult::End;
        }
        let (edge, gone) = (&mut self.readable, &mut self.gone);
        let count = match &mut self.layer {
            Layer::Hello(acceptor) => call(edge, gone, || acceptor.read_tls(&mut self.stream)),
            Layer::Tls(tls) => call(edge, gone, || tls.read_tls(&mut self.stream)),
            Layer::Plain | Layer::AtThread(_) => return ReadResult::Nothing,
        };
        self.held_by_tls += count.unwrap_or_default();
        self.read_result(count)
    }

    /// Sends `out` and then `parts`. Keeps what the socket does not take now.
    pub(crate) fn send(&mut self, parts: [&[u8]; 2], now: Instant) {
        if self.gone {
            self.out.clear();
            self.taken = 0;
            return;
        }
        match &mut self.layer {
            Layer::Plain => self.send_plain(parts, now),
            Layer::Hello(_) | Layer::AtThread(_) => {
                self.out.extend_from_slice(parts[0]);
                self.out.extend_from_slice(parts[1]);
            }
            Layer::Tls(tls) => {
                let all = [&self.out, parts[0], parts[1]];
                let octets = all.map(<[u8]>::len).iter().sum::<usize>();
                self.sent += octets as u64;
                // One call, so that TLS makes as few records as possible. TLS's buffer needs no
                // limit of its own, because the caller sends nothing more until the buffer is
                // empty.
                let taken = tls.writer().write_vectored(&all.map(IoSlice::new));
                self.gone = !taken.is_ok_and(|taken| taken == octets);
                self.out = Vec::new();
                self.send_records(now);
            }
        }
    }

    /// Sends what waits to be sent.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.pending() {
            self.send([&[], &[]], now);
        }
    }

    fn send_plain(&mut self, parts: [&[u8]; 2], now: Instant) {
        // How many octets of `out` and of each part the socket has taken.
        let mut taken = [self.taken, 0, 0];
        loop {
            let left = [
                &self.out[taken[0]..],
                &parts[0][taken[1]..],
                &parts[1][taken[2]..],
            ];
            if left.iter().all(|part| part.is_empty()) {
                break;
            }
            let write = || self.stream.write_vectored(&left.map(IoSlice::new));
            let Some(mut count) = call(&mut self.writable, &mut self.gone, write) else {
                break;
            };
            self.progress = now;
            self.sent += count as u64;
            self.taken_by_socket += count as u64;
            for (taken, part) in taken.iter_mut().zip(left) {
                let here = count.min(part.len());
                *taken += here;
                count -= here;
            }
        }
        self.taken = taken[0];
        if self.gone || self.taken == self.out.len() {
            self.out = Vec::new();
            self.taken = 0;
        }
        if !self.gone {
            self.out.extend_from_slice(&parts[0][taken[1]..]);
            self.out.extend_from_slice(&parts[1][taken[2]..]);
        }
    }

    /// Sends the records that TLS has made.
    fn send_records(&mut self, now: Instant) {
        let Layer::Tls(tls) = &mut self.layer else {
            return;
        };
        while tls.wants_write() {
            let write = || tls.write_tls(&mut self.stream);
            let Some(count) = call(&mut self.writable, &mut self.gone, write) else {
                return;
            };
            self.progress = now;
            self.taken_by_socket += count as u64;
        }
    }

    /// Tells the client that nothing more comes. The caller has sent everything before.
    pub(crate) fn close_write(&mut self, now: Instant) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
            self.send_records(now);
        }
        if self.stream.shutdown(Shutdown::Write).is_err() {
            self.gone = true;
        }
    }

    /// Reads what the client still sends, and drops it. Returns whether the client has ended.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> bool {
        // If the client sends faster than this, the rest is read in the connection's next turn.
        for _ in 0..4 {
            match self.read_socket(buffer) {
                ReadResult::End => return true,
                ReadResult::Nothing => return false,
                ReadResult::Bytes(_) => {}
            }
        }
        false
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > 0 {
            self.out = Vec::new();
        }
    }
}
