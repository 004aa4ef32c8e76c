//! A connection and its worker: the requests to it, its answers, and its end.
//!
//! Each answer gives the [`Action`] that follows from it. The caller does it.

use super::state::{Conn, STEPS_MAX, Shared};
use super::worker_channel::WorkerChannel;
use crate::pop3::{Action, End, Waiting};
use crate::report;
use popward_proto::bounded::UserName;
use popward_proto::session::{FrontToWorker, WorkerToFront};
use popward_sys::channel::{ChannelError, Packet};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Instant;

/// The result of looking into the worker's socket.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    /// Nothing is there.
    Nothing,
    /// The beginning of a message that the worker sent ahead. The client has not asked for it.
    Unasked,
    /// A packet, or the end of the channel. The action follows from it.
    Packet(Action),
}

impl Conn {
    /// Sends a request to the worker. With RETR the answer may lie in the socket already, because
    /// the worker sends the next message ahead. Then the client gets the answer first.
    pub(super) fn ask(&mut self, request: FrontToWorker, shared: &mut Shared<'_>) -> Action {
        self.since = shared.now;
        let answer = match &self.worker {
            Some(worker) if worker.may_hold_answer_of(request) => self.take_ahead(shared),
            Some(_) => None,
            None => return self.worker_gone(shared),
        };
        let answered = answer.is_some();
        if let Some(action) = answer.filter(|action| *action != Action::None) {
            return action;
        }
        let complete = self.pop3.waiting() == Waiting::Client;
        let sent = self.worker.as_mut().map(|worker| {
            if answered {
                worker.send_later(request, complete)
            } else {
                worker.send(request)
            }
        });
        if matches!(sent, Some(Err(_))) {
            return self.worker_gone(shared);
        }
        Action::None
    }

    /// Takes packets from the socket up to one that answers the client's request. Returns the
    /// action that follows from it. `None`: there was no answer.
    fn take_ahead(&mut self, shared: &mut Shared<'_>) -> Option<Action> {
        for _ in 0..STEPS_MAX {
            match self.take_packet(shared) {
                Received::Unasked => {}
                Received::Nothing => return None,
                Received::Packet(action) => return Some(action),
            }
        }
        None
    }

    /// Auth granted the login, and this socket leads to the worker. Returns the socket's
    /// descriptor, so that the caller can register it. `None`: the connection does not wait for a
    /// worker any more.
    pub(crate) fn attach(
        &mut self,
        (user, login_delay_s): (UserName, u32),
        socket: OwnedFd,
        now: Instant,
    ) -> Option<RawFd> {
        if self.pop3.waiting() != Waiting::Auth || self.ending.is_some() {
            return None;
        }
        let worker = WorkerChannel::new(socket);
        self.at_auth = None;
        self.pop3.granted(user, login_delay_s);
        self.since = now;
        Some(self.worker.insert(worker).descriptor())
    }

    /// Sessions said that the worker has ended, and that its locks are free. `finished`: another
    /// worker finished its update.
    pub(crate) fn session_ended(&mut self, finished: bool) -> Action {
        self.ended = Some(finished);
        if let Some(worker) = &mut self.worker {
            (worker.readable, worker.closed) = (true, true);
        }
        self.answer_end()
    }

    /// Tells POP3 that the worker has ended, when everything that the worker sent has been read.
    fn answer_end(&mut self) -> Action {
        let over = self.worker.is_none() && self.pop3.waiting() == Waiting::WorkerEnd;
        match self.ended {
            Some(finished) if over => self.pop3.worker_ended(finished, &mut self.client.out),
            _ => Action::None,
        }
    }

    /// Takes one packet from the worker.
    pub(super) fn receive(&mut self, shared: &mut Shared<'_>) -> Action {
        match self.take_packet(shared) {
            Received::Packet(action) => action,
            Received::Nothing | Received::Unasked => Action::None,
        }
    }

    fn take_packet(&mut self, shared: &mut Shared<'_>) -> Received {
        let phase = self.pop3.waiting().phase();
        let (Some(worker), Some(phase)) = (self.worker.as_mut(), phase) else {
            return Received::Nothing;
        };
        let action = match worker.receive(phase, shared.packet) {
            Ok(Packet::Data {
                announced,
                bytes,
                last,
            }) => {
                if let Some(message) = announced {
                    if !self.pop3.expects(&message) {
                        return Received::Unasked;
                    }
                    let ahead = matches!(message, WorkerToFront::Ahead(..));
                    if ahead && self.input.left().is_empty() {
                        worker.unwatch(shared.registry);
                    }
                    let action = self.pop3.worker(&message, &mut self.client.out);
                    if action != Action::None {
                        return Received::Packet(action);
                    }
                }
                let mut tail = Vec::new();
                self.pop3.data(last, &mut tail);
                self.since = shared.now;
                self.client.send([bytes, &tail], shared.now);
                Action::None
            }
            Ok(Packet::Message(message)) => self.heard(&message, shared),
            Err(ChannelError::WouldBlock) => {
                worker.readable = false;
                if worker.watch(shared.registry, self.handle.slot).is_ok() {
                    return Received::Nothing;
                }
                self.worker_gone(shared)
            }
            Err(error) => {
                if error != ChannelError::Closed {
                    shared.log.warning(
                        Some(self.id),
                        "session's channel failed",
                        &[("error", &error)],
                    );
                }
                self.worker_gone(shared)
            }
        };
        Received::Packet(action)
    }

    fn heard(&mut self, message: &WorkerToFront, shared: &mut Shared<'_>) -> Action {
        self.since = shared.now;
        let action = self.pop3.worker(message, &mut self.client.out);
        if self.pop3.waiting() == Waiting::WorkerEnd {
            // The worker says nothing after this message. Sessions says when it has ended.
            self.worker = None;
        }
        if let (WorkerToFront::Opened(totals), true) = (message, self.pop3.is_logged_in()) {
            self.session_began = shared.now;
            report::login(shared.log, &self.subject(), *totals);
        }
        if action == Action::None {
            return self.answer_end();
        }
        action
    }

    /// The worker's socket is closed, or the worker broke the rules.
    fn worker_gone(&mut self, shared: &Shared<'_>) -> Action {
        self.worker = None;
        let action = self.pop3.worker_gone(&mut self.client.out);
        if self.pop3.waiting() == Waiting::WorkerEnd {
            // Sessions says whether the update is done.
            self.since = shared.now;
            return self.answer_end();
        }
        if action == Action::None {
            return Action::Close(End::Broken);
        }
        action
    }
}
