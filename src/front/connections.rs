//! A turn of one connection, and what the event loop does after it.

use super::state::Front;
use crate::client::Handshake;
use crate::conn::{Conn, Outcome, Shared};
use crate::report;
use crate::slots::Occupant;
use crate::tls::handshake::HandshakeJob;

impl Front {
    /// Lets a connection go on, first with its handshake.
    pub(super) fn drive(&mut self, slot: usize) {
        let now = self.now;
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let handle = conn.handle;
        match conn.client.handshake(now) {
            Handshake::Complete => self.with(slot, Conn::drive),
            Handshake::Waits if conn.client.gone => self.with(slot, Conn::handshake_failed),
            Handshake::Waits => self.arm(slot),
            Handshake::Step(step) => {
                if let Some(rules) = self.tls.clone() {
                    let job = HandshakeJob {
                        handle,
                        step,
                        rules,
                    };
                    conn.client.wait_in_line(self.threads.give(job));
                }
                self.arm(slot);
            }
            Handshake::Failed(error) => {
                if let Some(error) = &error {
                    self.log_handshake(slot, error);
                }
                self.with(slot, Conn::handshake_failed);
            }
        }
    }

    fn log_handshake(&mut self, slot: usize, error: &rustls::Error) {
        if let Some(conn) = self.slots.at(slot) {
            if self.log_limits.may_log(conn.peer.ip(), self.now) {
                report::handshake(&self.log, &conn.subject(), error);
            }
        }
    }

    /// Takes the results of the handshake threads.
    pub(super) fn handshakes(&mut self) {
        while let Some(done) = self.threads.take() {
            let now = self.now;
            let Some(conn) = self.slots.get(done.handle) else {
                continue;
            };
            let slot = done.handle.slot;
            match done.result {
                Ok(tls) => {
                    conn.client.resume(tls, done.witness, now);
                    self.drive(slot);
                }
                Err(failure) => {
                    conn.client.alert(&failure.alert);
                    self.log_handshake(slot, &failure.error);
                    self.with(slot, Conn::handshake_failed);
                }
            }
        }
    }

    /// Gives a connection its turn, then does what the outcome asks for.
    pub(super) fn with(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Conn, &mut Shared<'_>) -> Outcome,
    ) {
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let mut shared = Shared {
            now: self.now,
            auths: &self.channels.auths,
            registry: self.poll.registry(),
            packet: &mut self.packet,
            read: &mut self.read,
            admission: &mut self.admission,
            log: &self.log,
        };
        match act(conn, &mut shared) {
            Outcome::Waits => self.arm(slot),
            Outcome::Again => {
                if !std::mem::replace(&mut conn.queued, true) {
                    self.again.push_back(conn.handle);
                }
                self.arm(slot);
            }
            Outcome::Over => {
                if let Some(Occupant::Conn(conn)) = self.slots.take(slot) {
                    if let Some(place) = conn.client.place() {
                        self.threads.cancel(place);
                    }
                    self.admission.leave(conn.party);
                }
            }
        }
    }

    /// Adds the connection's next time limit to the deadlines, unless an earlier one is there.
    pub(super) fn arm(&mut self, slot: usize) {
        if let Some(conn) = self.slots.at(slot) {
            let (at, _) = conn.deadline();
            if conn.armed.is_none_or(|armed| at < armed) {
                conn.armed = Some(at);
                let handle = conn.handle;
                self.deadlines.add(at, handle);
            }
        }
    }
}
