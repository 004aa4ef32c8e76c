//! One client's stream, plain or TLS, and what of our replies it has not taken yet.
//!
//! Sockets are edge-triggered: `readable` and `writable` remember the last edge until a call would have blocked.

use crate::tls::client_certificate::{ClientCertificate, Witness};
use crate::tls::handshake::{Place, Work};
use mio::net::TcpStream;
use rustls::ServerConnection;
use rustls::server::Acceptor;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// Most octets that a client may send in TLS before something for us comes of them: of a record that is not complete (16 KiB),
/// or of its part of the handshake, with its certificates. TLS keeps all of them.
const UNOPENED_MAX: usize = 20 << 10;

/// What lies between the socket and POP3.
enum Layer {
    Plain,
    /// TLS, its `ClientHello` not complete.
    Hello(Box<Acceptor>),
    /// TLS, the handshake at work on a thread, or in line for one.
    Away(Option<Place>),
    /// TLS, between two steps of the handshake or after it.
    Tls(Box<ServerConnection>),
}

/// What reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// The client ended the stream.
    End,
}

/// Where a handshake stands.
pub(crate) enum Handshake {
    /// There is none, or it is complete.
    Complete,
    /// The client, or a thread, has the next step.
    Waits,
    /// A step for a thread.
    Work(Work),
    /// The client went away, or what it sent is no TLS.
    Failed(Option<rustls::Error>),
}

/// Notes why a call on the socket did nothing: its last edge is used up, or the socket failed. Neither: it can be repeated.
fn note(error: &std::io::Error, edge: &mut bool, gone: &mut bool) {
    match error.kind() {
        ErrorKind::WouldBlock => *edge = false,
        ErrorKind::Interrupted => {}
        _ => *gone = true,
    }
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
    /// Who sees the client's certificate, until the handshake is complete.
    witness: Option<Arc<Witness>>,
    certificate: Option<Box<ClientCertificate>>,
    /// Replies that are ready to be sent: POP3's bytes, before TLS.
    pub(crate) out: Vec<u8>,
    /// How much at the start of `out` the socket has taken.
    taken: usize,
    /// Whether the socket may have something to read.
    pub(crate) readable: bool,
    /// Whether the socket may take something.
    pub(crate) writable: bool,
    /// Whether the client is known to send nothing more after what is in the socket.
    pub(crate) half_closed: bool,
    /// The socket failed: nothing is read or written any more.
    pub(crate) gone: bool,
    /// When the client last took an octet.
    pub(crate) progress: Instant,
    /// POP3's octets that went out, before TLS.
    pub(crate) sent: u64,
    /// Octets that the socket took, as they are sent.
    taken_by_socket: u64,
    /// How much of them its host had acknowledged when it was last looked at.
    acknowledged: u64,
    /// Octets that TLS has read since something last came of them.
    unopened: usize,
}

impl Client {
    /// A client that has just connected.
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
            unopened: 0,
        }
    }

    /// Begins TLS with what comes next. What was read before has been dealt with, or forgotten.
    pub(crate) fn start_tls(&mut self) {
        self.layer = Layer::Hello(Box::default());
    }

    /// Whether TLS is active, or about to be.
    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self.layer, Layer::Plain)
    }

    /// Octets that the client's host has acknowledged: what the socket took, less what lies in its buffer. That can be
    /// megabytes, so what the socket takes says little about a client.
    pub(crate) fn acknowledged(&self) -> u64 {
        let waiting = popward_sys::socket::unacknowledged(self.stream.as_fd());
        self.taken_by_socket
            .saturating_sub(waiting.unwrap_or(0).into())
    }

    /// Whether its host has acknowledged more than when this was last asked: that is progress.
    pub(crate) fn advances(&mut self, now: Instant) -> bool {
        let acknowledged = self.acknowledged();
        let advances = acknowledged > self.acknowledged;
        self.acknowledged = acknowledged;
        if advances {
            self.progress = now;
        }
        advances
    }

    /// Whether its host has acknowledged all that the socket took.
    pub(crate) fn has_all(&self) -> bool {
        self.acknowledged() == self.taken_by_socket
    }

    /// Whether bytes wait for the client to take some.
    pub(crate) fn blocked(&self) -> bool {
        !self.writable && self.pending()
    }

    /// Whether bytes wait to be sent.
    pub(crate) fn pending(&self) -> bool {
        !self.gone && (self.taken < self.out.len() || self.tls_pending())
    }

    fn tls_pending(&self) -> bool {
        matches!(&self.layer, Layer::Tls(tls) if tls.wants_write())
    }

    /// TLS version and cipher suite, where there is TLS.
    pub(crate) fn tls(&self) -> Option<String> {
        let Layer::Tls(tls) = &self.layer else {
            return None;
        };
        let (version, suite) = (tls.protocol_version()?, tls.negotiated_cipher_suite()?);
        Some(format!("{version:?}/{:?}", suite.suite()))
    }

    /// What the client showed of itself for EXTERNAL: only in a full TLS 1.3 handshake.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_deref()
    }

    /// What both ends of this very connection know and nobody else: the channel binding `tls-exporter` (RFC 9266).
    /// Not in TLS 1.2, where it is unique only by an extension of which the library does not say whether it was used.
    pub(crate) fn exporter(&self) -> Option<[u8; 32]> {
        match &self.layer {
            Layer::Tls(tls) => crate::tls::exporter(tls),
            _ => None,
        }
    }

    /// Reads some of what the client sent.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        if self.gone {
            return Got::End;
        }
        match &mut self.layer {
            Layer::Plain => self.read_socket(buffer),
            Layer::Hello(_) | Layer::Away(_) => Got::Nothing,
            Layer::Tls(_) => self.read_tls(buffer),
        }
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> Got {
        while self.readable && !self.gone {
            match self.stream.read(buffer) {
                Ok(0) => return Got::End,
                Ok(length) => {
                    // A short read means that the socket is empty, and spares a call that says so.
                    self.readable = length == buffer.len() || self.half_closed;
                    return Got::Bytes(length);
                }
                Err(error) => note(&error, &mut self.readable, &mut self.gone),
            }
        }
        if self.gone { Got::End } else { Got::Nothing }
    }

    fn read_tls(&mut self, buffer: &mut [u8]) -> Got {
        while let Layer::Tls(tls) = &mut self.layer {
            match tls.reader().read(buffer) {
                Ok(0) => return Got::End,
                Ok(length) => {
                    self.unopened = 0;
                    return Got::Bytes(length);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Got::End,
            }
            let read = self.read_records();
            let (Layer::Tls(tls), Got::Bytes(_)) = (&mut self.layer, read) else {
                return read;
            };
            if tls.process_new_packets().is_err() {
                // The alert, if the socket takes it; the stream is beyond repair either way.
                let _ = tls.write_tls(&mut self.stream);
                self.gone = true;
                return Got::End;
            }
        }
        Got::Nothing
    }

    /// Has TLS read what is in the socket, or some of it.
    fn read_records(&mut self) -> Got {
        if self.unopened > UNOPENED_MAX {
            self.gone = true;
            return Got::End;
        }
        while self.readable && !self.gone {
            let read = match &mut self.layer {
                Layer::Hello(acceptor) => acceptor.read_tls(&mut self.stream),
                Layer::Tls(tls) => tls.read_tls(&mut self.stream),
                Layer::Plain | Layer::Away(_) => return Got::Nothing,
            };
            match read {
                Ok(0) => return Got::End,
                Ok(length) => {
                    self.unopened += length;
                    return Got::Bytes(length);
                }
                Err(error) => note(&error, &mut self.readable, &mut self.gone),
            }
        }
        if self.gone { Got::End } else { Got::Nothing }
    }

    /// Sends what is in `out`, then `parts`, and keeps what the socket does not take now.
    pub(crate) fn send(&mut self, parts: [&[u8]; 2], now: Instant) {
        if self.gone {
            self.out.clear();
            self.taken = 0;
            return;
        }
        match &mut self.layer {
            Layer::Plain => self.send_plain(parts, now),
            Layer::Hello(_) | Layer::Away(_) => {
                self.out.extend_from_slice(parts[0]);
                self.out.extend_from_slice(parts[1]);
            }
            Layer::Tls(tls) => {
                let all = [&self.out, parts[0], parts[1]];
                let octets = all.map(<[u8]>::len).iter().sum::<usize>();
                self.sent += octets as u64;
                // As few records as can be. The buffer has no limit of its own: nobody sends more before it is empty again.
                let taken = tls.writer().write_vectored(&all.map(IoSlice::new));
                self.gone = !taken.is_ok_and(|taken| taken == octets);
                self.out = Vec::new();
                self.pump(now);
            }
        }
    }

    /// Sends what is in `out`.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.pending() {
            self.send([&[], &[]], now);
        }
    }

    fn send_plain(&mut self, parts: [&[u8]; 2], now: Instant) {
        // How much of `out` and of either part is taken.
        let mut taken = [self.taken, 0, 0];
        loop {
            let left = [
                &self.out[taken[0]..],
                &parts[0][taken[1]..],
                &parts[1][taken[2]..],
            ];
            if self.gone || !self.writable || left.iter().all(|part| part.is_empty()) {
                break;
            }
            match self.stream.write_vectored(&left.map(IoSlice::new)) {
                Ok(mut count) => {
                    self.progress = now;
                    self.sent += count as u64;
                    self.taken_by_socket += count as u64;
                    for (taken, part) in taken.iter_mut().zip(left) {
                        let here = count.min(part.len());
                        *taken += here;
                        count -= here;
                    }
                }
                Err(error) => note(&error, &mut self.writable, &mut self.gone),
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

    /// Moves TLS records to the socket.
    fn pump(&mut self, now: Instant) {
        let Layer::Tls(tls) = &mut self.layer else {
            return;
        };
        while !self.gone && self.writable && tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(count) => {
                    self.progress = now;
                    self.taken_by_socket += count as u64;
                }
                Err(error) => note(&error, &mut self.writable, &mut self.gone),
            }
        }
    }

    /// Tells the client that nothing more comes, once all that was to come has gone.
    pub(crate) fn close_write(&mut self, now: Instant) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
            self.pump(now);
        }
        if self.stream.shutdown(Shutdown::Write).is_err() {
            self.gone = true;
        }
    }

    /// Reads what the client still sends and forgets it. Returns whether the client has ended.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> bool {
        // A client that sends faster than this can wait for the next turn, or for the reset.
        for _ in 0..4 {
            match self.read_socket(buffer) {
                Got::End => return true,
                Got::Nothing => return false,
                Got::Bytes(_) => {}
            }
        }
        false
    }

    /// Takes the handshake as far as the loop may: everything that computes is work for a thread.
    pub(crate) fn handshake(&mut self, now: Instant) -> Handshake {
        match &mut self.layer {
            Layer::Plain => Handshake::Complete,
            Layer::Tls(tls) if !tls.is_handshaking() => Handshake::Complete,
            // A client can say hello and reset before it is looked at: no event will tell of it again.
            _ if self.gone => Handshake::Failed(None),
            Layer::Away(_) => Handshake::Waits,
            Layer::Hello(_) => self.read_hello(),
            Layer::Tls(_) => {
                self.pump(now);
                self.read_step()
            }
        }
    }

    fn read_hello(&mut self) -> Handshake {
        loop {
            match self.read_records() {
                Got::Bytes(_) => {}
                Got::Nothing => return Handshake::Waits,
                Got::End => return Handshake::Failed(None),
            }
            let Layer::Hello(acceptor) = &mut self.layer else {
                return Handshake::Waits;
            };
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    self.layer = Layer::Away(None);
                    return Handshake::Work(Work::Accept(Box::new(accepted)));
                }
                Err((error, mut alert)) => {
                    let _ = alert.write(&mut self.stream);
                    return Handshake::Failed(Some(error));
                }
            }
        }
    }

    fn read_step(&mut self) -> Handshake {
        if self.gone {
            return Handshake::Failed(None);
        }
        match self.read_records() {
            Got::Nothing => Handshake::Waits,
            Got::End => Handshake::Failed(None),
            Got::Bytes(_) => match std::mem::replace(&mut self.layer, Layer::Away(None)) {
                Layer::Tls(tls) => Handshake::Work(Work::Process(tls)),
                _ => Handshake::Failed(None),
            },
        }
    }

    /// Remembers where the step that [`Client::handshake`] gave waits for a thread.
    pub(crate) fn wait_in_line(&mut self, place: Place) {
        if let Layer::Away(at) = &mut self.layer {
            *at = Some(place);
        }
    }

    /// Where a step of its handshake waits, or waited before a thread took it.
    pub(crate) fn place(&self) -> Option<Place> {
        match self.layer {
            Layer::Away(place) => place,
            _ => None,
        }
    }

    /// Takes the TLS connection back from the thread that had it. `witness` comes with the first step.
    pub(crate) fn resume(
        &mut self,
        mut tls: Box<ServerConnection>,
        witness: Option<Arc<Witness>>,
        now: Instant,
    ) {
        tls.set_buffer_limit(None);
        self.witness = witness.or(self.witness.take());
        if !tls.is_handshaking() {
            self.unopened = 0;
            let shown = self.witness.take().and_then(|witness| witness.take());
            self.certificate = shown.map(Box::new);
        }
        self.layer = Layer::Tls(tls);
        self.pump(now);
    }

    /// Sends the alert of a handshake that failed on a thread.
    pub(crate) fn alert(&mut self, bytes: &[u8]) {
        let _ = self.stream.write(bytes);
    }

    /// Gives memory back that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > 0 {
            self.out = Vec::new();
        }
    }
}
