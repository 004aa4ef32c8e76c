//! A connection and its worker: what is asked of it, what it answers, and its end.

use super::{Conn, Step, Turn, Waits, Why};
use crate::front::session_token;
use crate::pop3::{Action, End};
use crate::report;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use popward_proto::bounded::UserName;
use popward_proto::session::{ClientPhase, FrontToWorker, MessageNumber, WorkerToFront};
use popward_sys::channel::{Channel, ChannelError, Packet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

/// So many requests of messages that were there already are sent together.
const HELD: usize = 2;

/// The way to the session's worker.
///
/// While the client retrieves one message after the other, the beginning of the next one is in the socket before it is asked
/// for, and nobody needs to be told. So the socket is not watched then (that its worker has gone, the monitor says as well),
/// and a request waits for one look into it: the client is answered before the worker is woken.
#[derive(Debug)]
pub(crate) struct Session {
    channel: Channel<FrontToWorker, WorkerToFront>,
    /// Whether it may have something to read.
    pub(crate) readable: bool,
    /// Whether its other end is closed.
    pub(crate) closed: bool,
    /// Whether the event loop says when there is something to read.
    watched: bool,
    /// The message that RETR was asked of, until its answer begins.
    retrieves: Option<MessageNumber>,
    /// Requests that are sent after a look into the socket: RETR of messages that were there, and one more.
    held: Vec<FrontToWorker>,
}

impl Session {
    /// Whether there may be something to read that is of interest. Where nothing was asked that is only the end: the rest is
    /// the beginning of what the worker expects to be asked for, which can wait in the socket.
    pub(super) fn speaks(&self) -> bool {
        self.readable && (self.closed || self.channel.phase() != ClientPhase::Idle)
    }

    fn watch(&mut self, registry: &Registry, slot: usize) -> std::io::Result<()> {
        if self.watched {
            return Ok(());
        }
        self.watched = true;
        let descriptor = self.channel.as_fd().as_raw_fd();
        let token = session_token(slot);
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)
    }

    fn unwatch(&mut self, registry: &Registry) {
        let descriptor = self.channel.as_fd().as_raw_fd();
        // Should it fail, it stays watched.
        if self.watched && registry.deregister(&mut SourceFd(&descriptor)).is_ok() {
            self.watched = false;
        }
    }

    /// Sends a request, now or after the next look into the socket.
    fn ask(&mut self, request: FrontToWorker) -> Result<(), ChannelError> {
        self.channel.enter(ClientPhase::Asked(request.request()));
        self.retrieves = request.retrieves();
        self.readable |= !self.watched;
        // A look into the socket comes when the client has taken its replies, and QUIT does not wait for a client.
        let now = self.watched || request == FrontToWorker::Quit;
        self.held.push(request);
        if now { self.ask_held() } else { Ok(()) }
    }

    fn ask_held(&mut self) -> Result<(), ChannelError> {
        let mut held = self.held.drain(..);
        held.try_for_each(|request| self.channel.send(&request))
    }
}

impl Conn {
    /// Asks the worker.
    pub(super) fn ask(&mut self, request: FrontToWorker, turn: &mut Turn<'_>) {
        let kind = request.request();
        self.waits = Waits::Worker(kind, turn.now);
        let sent = self.session.as_mut().map(|session| session.ask(request));
        if !matches!(sent, Some(Ok(()))) {
            self.worker_gone(turn);
        }
    }

    /// Auth granted, and this is the worker's socket. Returns it for registration if somebody waits for it.
    pub(crate) fn attach(
        &mut self,
        (user, login_delay_s): (UserName, u32),
        socket: OwnedFd,
        now: Instant,
    ) -> Option<&Channel<FrontToWorker, WorkerToFront>> {
        if !matches!(self.waits, Waits::Auth(_)) || self.ending.is_some() {
            return None;
        }
        let channel = Channel::new(socket, ClientPhase::Opening);
        channel.set_nonblocking().ok()?;
        self.at_auth = false;
        self.pop3.granted(user, login_delay_s);
        self.waits = Waits::Opening(now);
        let session = Session {
            channel,
            readable: false,
            closed: false,
            watched: true,
            retrieves: None,
            held: Vec::new(),
        };
        Some(&self.session.insert(session).channel)
    }

    /// The monitor said that the worker has gone, and its locks with it.
    pub(crate) fn session_ended(&mut self, finished: bool, turn: &mut Turn<'_>) {
        self.ended = Some(finished);
        if let Some(session) = &mut self.session {
            (session.readable, session.closed) = (true, true);
        }
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

    /// Takes one packet from the worker, and lets a request go that waited for that.
    pub(super) fn receive(&mut self, turn: &mut Turn<'_>) -> Step {
        let step = self.take_packet(turn);
        let sent = self.session.as_mut().map(|session| {
            // What was there is answered, and there is more: the worker is not woken for each message.
            let waits = session.channel.phase() == ClientPhase::Idle && session.held.len() < HELD;
            if waits { Ok(()) } else { session.ask_held() }
        });
        if matches!(sent, Some(Err(_))) {
            self.worker_gone(turn);
        }
        step
    }

    fn take_packet(&mut self, turn: &mut Turn<'_>) -> Step {
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
                        if self.input.left().is_empty() {
                            session.unwatch(turn.registry);
                        }
                    }
                    session.retrieves = None;
                    session.channel.enter(ClientPhase::Streaming);
                    let action = self.pop3.worker(&message, &mut self.client.out);
                    if !matches!(action, Action::None) {
                        self.act(action, turn);
                        return Step::Went;
                    }
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
            Err(ChannelError::WouldBlock) => {
                session.readable = false;
                if session.watch(turn.registry, self.handle.slot).is_err() {
                    self.worker_gone(turn);
                }
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
        if let (W::Opened(totals), true) = (message, self.pop3.is_logged_in()) {
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
