//! A client's TLS handshake. The event loop reads the client's messages. Everything that computes
//! is a step for a thread.

use super::{Client, Layer, ReadResult};
use crate::tls::client_certificate::Witness;
use crate::tls::handshake::{HandshakeStep, QueuePlace};
use rustls::ServerConnection;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// The state of a handshake.
pub(crate) enum Handshake {
    /// It is complete, or there is none.
    Complete,
    /// The client or a thread has the next step.
    Waits,
    /// This step has to be given to a thread.
    Step(HandshakeStep),
    /// It failed. `None`: the client has gone. Otherwise what the client sent is not TLS.
    Failed(Option<rustls::Error>),
}

impl Client {
    /// Takes the handshake as far as possible without a thread.
    pub(crate) fn handshake(&mut self, now: Instant) -> Handshake {
        match &mut self.layer {
            Layer::Plain => Handshake::Complete,
            Layer::Tls(tls) if !tls.is_handshaking() => Handshake::Complete,
            // A client can reset the connection before its first message is read. No later event
            // reports this.
            _ if self.gone => Handshake::Failed(None),
            Layer::AtThread(_) => Handshake::Waits,
            Layer::Hello(_) => self.read_hello(),
            Layer::Tls(_) => {
                self.send_records(now);
                self.read_step()
            }
        }
    }

    fn read_hello(&mut self) -> Handshake {
        loop {
            match self.read_records() {
                ReadResult::Bytes(_) => {}
                ReadResult::Nothing => return Handshake::Waits,
                ReadResult::End => return Handshake::Failed(None),
            }
            let Layer::Hello(acceptor) = &mut self.layer else {
                return Handshake::Waits;
            };
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    self.layer = Layer::AtThread(None);
                    return Handshake::Step(HandshakeStep::Accept(Box::new(accepted)));
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
            ReadResult::Nothing => Handshake::Waits,
            ReadResult::End => Handshake::Failed(None),
            ReadResult::Bytes(_) => {
                match std::mem::replace(&mut self.layer, Layer::AtThread(None)) {
                    Layer::Tls(tls) => Handshake::Step(HandshakeStep::Process(tls)),
                    _ => Handshake::Failed(None),
                }
            }
        }
    }

    /// Remembers the place in line of the step that [`Client::handshake`] gave.
    pub(crate) fn wait_in_line(&mut self, place: QueuePlace) {
        if let Layer::AtThread(at) = &mut self.layer {
            *at = Some(place);
        }
    }

    /// The place in line of a step of the handshake. A thread may have taken the step already.
    pub(crate) fn place(&self) -> Option<QueuePlace> {
        match self.layer {
            Layer::AtThread(place) => place,
            _ => None,
        }
    }

    /// Takes the TLS connection back from the thread that had it. `witness` comes with the first
    /// step.
    pub(crate) fn resume(
        &mut self,
        mut tls: Box<ServerConnection>,
        witness: Option<Arc<Witness>>,
        now: Instant,
    ) {
        tls.set_buffer_limit(None);
        self.witness = witness.or(self.witness.take());
        if !tls.is_handshaking() {
            self.held_by_tls = 0;
            let shown = self.witness.take().and_then(|witness| witness.take());
            self.certificate = shown.map(Box::new);
        }
        self.layer = Layer::Tls(tls);
        self.send_records(now);
    }

    /// Sends the alert of a handshake that failed in a thread.
    pub(crate) fn alert(&mut self, bytes: &[u8]) {
        let _ = self.stream.write(bytes);
    }
}
