//! A connection and its worker: what is asked of it, what it answers, and its end.

use super::{Conn, Session, Step, Turn, Waits, Why};
use crate::pop3::{Action, End};
use crate::report;
use popward_proto::bounded::UserName;
use popward_proto::session::{ClientPhase, FrontToWorker, WorkerToFront};
use popward_sys::channel::{Channel, ChannelError, Packet};
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Conn {
    /// Asks the worker.
    pub(super) fn ask(&mut self, request: FrontToWorker, turn: &mut Turn<'_>) {
        let kind = request.request();
        self.waits = Waits::Worker(kind, turn.now);
        let sent = self.session.as_mut().map(|session| {
            session.channel.enter(ClientPhase::Asked(kind));
            session.retrieves = match request {
                FrontToWorker::Retr(number) => Some(number),
                _ => None,
            };
            session.channel.send(&request)
        });
        if !matches!(sent, Some(Ok(()))) {
            self.worker_gone(turn);
        }
    }

    /// Auth granted, and this is the worker's socket. Returns it for registration if somebody waits for it.
    pub(crate) fn attach(
        &mut self,
        user: UserName,
        socket: OwnedFd,
        now: Instant,
    ) -> Option<&Channel<FrontToWorker, WorkerToFront>> {
        if !matches!(self.waits, Waits::Auth(_)) || self.ending.is_some() {
            return None;
        }
        let channel = Channel::new(socket, ClientPhase::Opening);
        channel.set_nonblocking().ok()?;
        self.at_auth = false;
        self.pop3.granted(user);
        self.waits = Waits::Opening(now);
        let session = Session {
            channel,
            readable: false,
            closed: false,
            retrieves: None,
        };
        Some(&self.session.insert(session).channel)
    }

    /// The monitor said that the worker has gone, and its locks with it.
    pub(crate) fn session_ended(&mut self, finished: bool, turn: &mut Turn<'_>) {
        self.ended = Some(finished);
        self.answer_end(turn);
    }

    /// Tells POP3 that the worker has gone, once everything that the worker had said is read.
    fn answer_end(&mut self, turn: &mut Turn<'_>) {
        let over = self.session.is_none() && matches!(self.waits, Waits::Ended(_));
        if let (Some(finished), true) = (self.ended, over) {
            self.waits = Waits::Client;
            let action = self.pop3.worker_ended(finished, &mut self.client.out);
            self.act(action, turn);
        }
    }

    /// Takes one packet from the worker.
    pub(super) fn receive(&mut self, turn: &mut Turn<'_>) -> Step {
        let Some(session) = self.session.as_mut() else {
            return Step::Stuck;
        };
        match session.channel.receive(turn.packet) {
            Ok(Packet::Data {
                announced,
                bytes,
                last,
            }) => {
                if let Some(message) = announced {
                    if let WorkerToFront::Ahead(number, _) = message {
                        if session.retrieves != Some(number) {
                            // The client asked for something else than what was expected of it.
                            return Step::Went;
                        }
                    }
                    session.retrieves = None;
                    session.channel.enter(ClientPhase::Streaming);
                    self.pop3.worker(&message, &mut self.client.out);
                }
                let mut tail = Vec::new();
                self.pop3.data(last, &mut tail);
                if last {
                    session.channel.enter(ClientPhase::Idle);
                    self.waits = Waits::Client;
                    self.commanded = turn.now;
                } else if let Waits::Worker(_, since) = &mut self.waits {
                    *since = turn.now;
                }
                self.client.send([bytes, &tail], turn.now);
            }
            Ok(Packet::Message(message, _)) => self.heard(&message, turn),
            Err(ChannelError::WouldBlock) => session.readable = false,
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
        Step::Went
    }

    fn heard(&mut self, message: &WorkerToFront, turn: &mut Turn<'_>) {
        use WorkerToFront as W;
        if let Some(session) = self.session.as_mut() {
            session.retrieves = None;
            session.channel.enter(ClientPhase::Idle);
        }
        if let W::Committed(_) | W::NotCommitted(_) = message {
            // Its last word. It ends now, and the monitor says when.
            self.session = None;
            self.waits = Waits::Ended(turn.now);
        } else {
            self.waits = Waits::Client;
            self.commanded = turn.now;
        }
        let action = self.pop3.worker(message, &mut self.client.out);
        if let W::Opened(totals) = message {
            self.logged_in = Some(turn.now);
            report::login(turn.log, self, *totals);
        }
        self.act(action, turn);
        self.answer_end(turn);
    }

    /// The worker's socket ended, or is not to be trusted any more.
    fn worker_gone(&mut self, turn: &mut Turn<'_>) {
        self.session = None;
        if self.is_updating() {
            // Whether the update is done, the monitor will say.
            self.waits = Waits::Ended(turn.now);
            return self.answer_end(turn);
        }
        self.waits = Waits::Client;
        let action = self.pop3.worker_gone(&mut self.client.out);
        if matches!(action, Action::None) {
            self.end(Why::Pop3(End::Broken));
        } else {
            self.act(action, turn);
        }
    }
}
