//! A connection and its worker: what is asked of it, what it answers, and its end.

use super::worker_link::WorkerLink;
use super::{Conn, STEPS, Step, Turn};
use crate::end_reason::EndReason;
use crate::pop3::{Action, End, Waiting};
use crate::report;
use popward_proto::bounded::UserName;
use popward_proto::session::{FrontToWorker, WorkerToFront};
use popward_sys::channel::{ChannelError, Packet};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Instant;

/// What a look into the worker's socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Nothing is there.
    Nothing,
    /// A packet that came ahead of a request that the client did not make.
    Stale,
    /// A packet, or the end.
    Packet,
}

impl Conn {
    /// Asks the worker. The answer to RETR may be in the socket already: then the client has it first.
    pub(super) fn ask(&mut self, request: FrontToWorker, turn: &mut Turn<'_>) {
        self.since = turn.now;
        let answered = match &self.worker {
            Some(worker) => worker.may_hold_answer_of(request) && self.take_ahead(turn),
            None => return self.worker_gone(turn),
        };
        let complete = self.pop3.waiting() == Waiting::Client;
        let sent = self.worker.as_mut().map(|worker| {
            if answered {
                worker.send_later(request, complete)
            } else {
                worker.send(request)
            }
        });
        if matches!(sent, Some(Err(_))) {
            self.worker_gone(turn);
        }
    }

    /// Takes what lies in the socket up to a packet that is of interest. Returns whether there was one.
    fn take_ahead(&mut self, turn: &mut Turn<'_>) -> bool {
        for _ in 0..STEPS {
            match self.take_packet(turn) {
                Taken::Stale => {}
                Taken::Nothing => return false,
                Taken::Packet => return true,
            }
        }
        false
    }

    /// Auth granted, and this is the worker's socket. Returns its descriptor for registration, if somebody waits for it.
    pub(crate) fn attach(
        &mut self,
        (user, login_delay_s): (UserName, u32),
        socket: OwnedFd,
        now: Instant,
    ) -> Option<RawFd> {
        if self.pop3.waiting() != Waiting::Auth || self.ending.is_some() {
            return None;
        }
        let worker = WorkerLink::new(socket).ok()?;
        self.at_auth = None;
        self.pop3.granted(user, login_delay_s);
        self.since = now;
        Some(self.worker.insert(worker).descriptor())
    }

    /// The monitor said that the worker has gone, and its locks with it.
    pub(crate) fn session_ended(&mut self, finished: bool, turn: &mut Turn<'_>) {
        self.ended = Some(finished);
        if let Some(worker) = &mut self.worker {
            (worker.readable, worker.closed) = (true, true);
        }
        self.answer_end(turn);
    }

    /// Tells POP3 that the worker has gone, once everything that the worker had said is read.
    fn answer_end(&mut self, turn: &mut Turn<'_>) {
        let over = self.worker.is_none() && self.pop3.waiting() == Waiting::WorkerEnd;
        if let (Some(finished), true) = (self.ended, over) {
            let action = self.pop3.worker_ended(finished, &mut self.client.out);
            self.act(action, turn);
        }
    }

    /// Takes one packet from the worker.
    pub(super) fn receive(&mut self, turn: &mut Turn<'_>) -> Step {
        self.take_packet(turn);
        Step::Went
    }

    fn take_packet(&mut self, turn: &mut Turn<'_>) -> Taken {
        let phase = self.pop3.waiting().phase();
        let (Some(worker), Some(phase)) = (self.worker.as_mut(), phase) else {
            return Taken::Nothing;
        };
        match worker.receive(phase, turn.packet) {
            Ok(Packet::Data {
                announced,
                bytes,
                last,
            }) => {
                if let Some(message) = announced {
                    if !self.pop3.expects(&message) {
                        return Taken::Stale;
                    }
                    let ahead = matches!(message, WorkerToFront::Ahead(..));
                    if ahead && self.input.left().is_empty() {
                        worker.unwatch(turn.registry);
                    }
                    let action = self.pop3.worker(&message, &mut self.client.out);
                    if !matches!(action, Action::None) {
                        self.act(action, turn);
                        return Taken::Packet;
                    }
                }
                let mut tail = Vec::new();
                self.pop3.data(last, &mut tail);
                self.since = turn.now;
                self.client.send([bytes, &tail], turn.now);
            }
            Ok(Packet::Message(message, _)) => self.heard(&message, turn),
            Err(ChannelError::WouldBlock) => {
                worker.readable = false;
                if worker.watch(turn.registry, self.handle.slot).is_err() {
                    self.worker_gone(turn);
                }
                return Taken::Nothing;
            }
            Err(error) => {
                if error != ChannelError::Closed {
                    turn.log.warning(
                        Some(self.id),
                        "session's channel failed",
                        &[("error", &error)],
                    );
                }
                self.worker_gone(turn);
            }
        }
        Taken::Packet
    }

    fn heard(&mut self, message: &WorkerToFront, turn: &mut Turn<'_>) {
        self.since = turn.now;
        let action = self.pop3.worker(message, &mut self.client.out);
        if self.pop3.waiting() == Waiting::WorkerEnd {
            // That was its last word. It ends now, and the monitor says when.
            self.worker = None;
        }
        if let (WorkerToFront::Opened(totals), true) = (message, self.pop3.is_logged_in()) {
            self.session_began = turn.now;
            report::login(turn.log, &self.subject(), *totals);
        }
        self.act(action, turn);
        self.answer_end(turn);
    }

    /// The worker's socket ended, or is not to be trusted any more.
    fn worker_gone(&mut self, turn: &mut Turn<'_>) {
        self.worker = None;
        let action = self.pop3.worker_gone(&mut self.client.out);
        if self.pop3.waiting() == Waiting::WorkerEnd {
            // Whether the update is done, the monitor will say.
            self.since = turn.now;
            self.answer_end(turn);
        } else if matches!(action, Action::None) {
            self.end(EndReason::Pop3(End::Broken));
        } else {
            self.act(action, turn);
        }
    }
}
