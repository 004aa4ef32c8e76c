//! One client's connection: what comes from it goes through POP3, what POP3 wants done is done, and what auth, the
//! monitor and the worker say goes back.
//!
//! Back-pressure: while the client has not taken its reply, its session's socket is not read; while an answer is
//! outstanding, its commands are not. So a connection holds at most one packet and one read buffer.

use crate::auths::Auths;
use crate::client::{Client, Got};
use crate::end_reason::EndReason;
use crate::handle::Handle;
use crate::limits::{Admission, Party};
use crate::pop3::{Action, End, Identity, Offer, Policy, Pop3, Waiting};
use crate::proxy::Peer;
use crate::report;
use mio::Registry;
use popward_proto::account::SessionId;
use popward_proto::monitor_front::FrontSettings;
use popward_sys::channel::PacketBuffer;
use popward_sys::log::Log;
use std::rc::Rc;
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

mod login;
mod pace;
mod place;
mod worker;
mod worker_link;

use worker_link::WorkerLink;

/// Bytes of commands that are read at once, and that a connection keeps at most while it waits for an answer.
pub(crate) const READ: usize = 4096;

/// Replies to pipelined commands that are put together before they are sent, in bytes.
const GATHER: usize = 8192;

/// Steps that one connection may take before it is another's turn.
const STEPS: u32 = 64;

/// How long a client may take to end its side, once we have ended ours.
const LINGER: Duration = Duration::from_secs(2);

/// What a client reads that is turned away, where nothing has to be encrypted first.
pub(crate) const FULL: &[u8] = b"-ERR [SYS/TEMP] Too many connections, try again later\r\n";

/// What a connection may use while it is its turn.
pub(crate) struct Turn<'a> {
    /// The time.
    pub(crate) now: Instant,
    /// The ways to auth.
    pub(crate) auths: &'a Auths,
    /// Where sockets are watched.
    pub(crate) registry: &'a Registry,
    /// Room for a packet, shared by all connections.
    pub(crate) packet: &'a mut PacketBuffer,
    /// Room for commands, shared likewise.
    pub(crate) read: &'a mut [u8],
    /// Who is counted as what.
    pub(crate) admission: &'a mut Admission,
    /// The log.
    pub(crate) log: &'a Log,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits for an event.
    Waits,
    /// It could go on, but others are waiting.
    Again,
    /// It is over.
    Over,
}

/// A connection that only waits for its last bytes to be taken.
#[derive(Debug, Clone, Copy)]
struct Ending {
    why: EndReason,
    /// Our side is closed; the client's is waited for until then.
    lingers: Option<Instant>,
}

/// A connection.
pub(crate) struct Conn {
    /// Its place in the table.
    pub(crate) handle: Handle,
    /// Its name to the other processes.
    pub(crate) id: SessionId,
    /// Who it is; as far as is known, where a proxy speaks for it.
    pub(crate) peer: Peer,
    /// As what it is counted.
    pub(crate) party: Party,
    /// Its stream.
    pub(crate) client: Client,
    /// The protocol's state.
    pub(crate) pop3: Pop3,
    /// The way to its worker.
    pub(crate) worker: Option<WorkerLink>,
    /// Whether it is in line for another turn.
    pub(crate) queued: bool,
    /// When it is next looked at for its limits.
    pub(crate) armed: Option<Instant>,
    settings: Rc<FrontSettings>,
    /// Whether STLS can be offered.
    stls: bool,
    /// Since when it waits for what [`Pop3::waiting`] says. The client's part of that ends with each command.
    since: Instant,
    /// The monitor said that the worker has gone; and whether another one has finished its update.
    ended: Option<bool>,
    /// Commands that were read and not yet processed: they may hold a password.
    input: Input,
    /// Whether auth was told of a login, and has not said how it ended.
    at_auth: Option<u32>,
    ending: Option<Ending>,
    /// When it was accepted, or its proxy had said whose it is.
    pub(crate) accepted: Instant,
    /// When its session began. Means nothing before a login.
    session_began: Instant,
    /// Since when a command's line is not complete.
    line: Option<Instant>,
    /// Since when the client keeps a reply waiting, and what it had taken by then.
    slow: Option<(Instant, u64)>,
}

/// Commands that were read at once, and how far they are processed.
#[derive(Debug, Default)]
struct Input {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Input {
    fn left(&self) -> &[u8] {
        &self.bytes[self.used..]
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Went,
    Stuck,
    /// TLS begins: the next step is the handshake's.
    Handshake,
    Over(EndReason),
}

impl Conn {
    /// A connection that was just accepted. `stls`: whether there is a certificate for STLS.
    pub(crate) fn new(
        (handle, id): (Handle, SessionId),
        (peer, party): (Peer, Party),
        client: Client,
        stls: bool,
        settings: &Rc<FrontSettings>,
        identity: Identity,
        now: Instant,
    ) -> Self {
        let policy = Policy {
            bad_commands: settings.limits.bad_commands,
            failed_logins: settings.limits.failed_logins,
        };
        let offer = login::offer(&client, &peer, stls, settings);
        let forwards = peer.may_forward(settings);
        Self {
            handle,
            id,
            peer,
            party,
            client,
            pop3: Pop3::new(policy, offer, identity, forwards).configured(settings),
            worker: None,
            queued: false,
            armed: None,
            settings: Rc::clone(settings),
            stls,
            since: now,
            ended: None,
            input: Input::default(),
            at_auth: None,
            ending: None,
            accepted: now,
            session_began: now,
            line: None,
            slow: None,
        }
    }

    /// What the log says of it.
    pub(crate) fn subject(&self) -> report::Subject<'_> {
        report::Subject {
            id: self.id,
            peer: &self.peer,
            party: self.party,
            client: &self.client,
            pop3: &self.pop3,
            logs_as_qpopper: self.settings.pop3.qpopper_log,
        }
    }

    fn offer(&self) -> Offer {
        login::offer(&self.client, &self.peer, self.stls, &self.settings)
    }

    /// Goes as far as it goes now. The handshake, if any, is complete.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>) -> Outcome {
        match self.pop3.waiting() {
            Waiting::Connected => {
                self.pop3.secured(self.offer());
                self.pop3.greeting(&mut self.client.out);
            }
            Waiting::Securing if self.client.is_secure() => self.pop3.secured(self.offer()),
            _ => {}
        }
        for _ in 0..STEPS {
            match self.step(turn) {
                Step::Went => {
                    if self.client.out.len() >= GATHER {
                        self.client.flush(turn.now);
                    }
                }
                Step::Stuck if self.gathers() => return Outcome::Waits,
                Step::Stuck => {
                    self.client.flush(turn.now);
                    // The flush can find that the client has gone.
                    if self.client.gone {
                        if let Step::Over(why) = self.step(turn) {
                            return self.over(why, turn);
                        }
                    }
                    self.client.shrink();
                    self.watch_pace(turn.now);
                    return Outcome::Waits;
                }
                Step::Handshake => return Outcome::Again,
                Step::Over(why) => return self.over(why, turn),
            }
        }
        self.client.flush(turn.now);
        Outcome::Again
    }

    /// Whether replies wait for those to commands that are already here, to go out in one write.
    fn gathers(&self) -> bool {
        self.pop3.waiting().is_for_worker()
            && !self.input.left().is_empty()
            && !self.client.gone
            && !self.client.blocked()
            && self.client.out.len() < GATHER
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Step {
        if let Some(ending) = self.ending {
            return self.finish(ending, turn);
        }
        let waiting = self.pop3.waiting();
        if self.client.gone && !waiting.is_update() {
            return Step::Over(EndReason::Reset);
        }
        if self.client.blocked() {
            return Step::Stuck;
        }
        if waiting == Waiting::Securing {
            return self.secure(turn);
        }
        let worker = self.worker.as_ref();
        if worker.is_some_and(|worker| worker.may_speak(waiting)) {
            self.receive(turn)
        } else if waiting == Waiting::Client {
            self.feed(turn)
        } else {
            Step::Stuck
        }
    }

    /// Takes commands, from what is here or from the client.
    fn feed(&mut self, turn: &mut Turn<'_>) -> Step {
        if !self.input.left().is_empty() {
            let mut input = std::mem::take(&mut self.input);
            input.used += self.process(input.left(), turn);
            if self.keeps_input() && !input.left().is_empty() {
                self.input = input;
            }
            return Step::Went;
        }
        match self.client.read(turn.read) {
            Got::Nothing => Step::Stuck,
            Got::End => {
                let why = if self.client.gone {
                    EndReason::Reset
                } else {
                    EndReason::Client
                };
                self.end(why);
                Step::Went
            }
            Got::Bytes(length) => {
                let secret = !self.pop3.is_logged_in();
                let read = std::mem::take(&mut turn.read);
                let used = self.process(&read[..length], turn);
                if self.keeps_input() && used < length {
                    let bytes = Zeroizing::new(read[used..length].to_vec());
                    self.input = Input { bytes, used: 0 };
                }
                if secret {
                    read[..length].zeroize();
                }
                turn.read = read;
                Step::Went
            }
        }
    }

    /// Has POP3 take commands, and returns how many bytes that took: all, or up to one that has to be answered first.
    fn process(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        let before = self.client.out.len();
        let (used, action) = self.pop3.input(bytes, &mut self.client.out);
        let acts = !matches!(action, Action::None);
        let commanded = acts || self.client.out.len() != before;
        if commanded {
            self.since = turn.now;
        }
        self.watch_line(commanded, turn.now);
        self.act(action, turn);
        // Nothing taken and nothing due would come again for ever.
        if used == 0 && !acts {
            bytes.len()
        } else {
            used
        }
    }

    /// Does what POP3 wants done.
    fn act(&mut self, action: Action, turn: &mut Turn<'_>) {
        match action {
            Action::Login(login) => self.login(login, turn),
            // Where TLS begins, the next step does that, once the reply has gone.
            Action::None | Action::StartTls => {}
            Action::Forwarded(forwarded) => self.forwarded(forwarded, turn),
            Action::Ask(request) => self.ask(request, turn),
            Action::Close(end) => self.end(EndReason::Pop3(end)),
        }
    }

    /// Ends once what is in the buffer has gone; the worker is let go at once.
    fn end(&mut self, why: EndReason) {
        self.worker = None;
        self.input = Input::default();
        if self.ending.is_none() {
            let lingers = None;
            self.ending = Some(Ending { why, lingers });
        }
    }

    fn finish(&mut self, ending: Ending, turn: &mut Turn<'_>) -> Step {
        self.client.flush(turn.now);
        if self.client.gone {
            return Step::Over(ending.why);
        }
        if self.client.blocked() {
            return Step::Stuck;
        }
        if ending.lingers.is_none() {
            self.client.close_write(turn.now);
            let lingers = Some(turn.now + LINGER);
            self.ending = Some(Ending { lingers, ..ending });
        }
        // To close a socket with unread bytes is to reset it, and the reset can overtake our last reply.
        let ended = self.client.discard(turn.read);
        turn.read.zeroize();
        let quiet = matches!(
            ending.why,
            EndReason::Pop3(End::Quit | End::QuitBeforeLogin)
        );
        if ended || quiet || self.client.gone {
            return Step::Over(ending.why);
        }
        Step::Stuck
    }

    /// No TLS session was made.
    pub(crate) fn handshake_failed(&mut self, turn: &mut Turn<'_>) -> Outcome {
        self.over(EndReason::Handshake, turn)
    }

    /// It is over, whatever was still to come.
    pub(crate) fn over(&mut self, why: EndReason, turn: &Turn<'_>) -> Outcome {
        self.worker = None;
        self.cancel(turn);
        let seconds = turn.now.saturating_duration_since(self.accepted).as_secs();
        report::end(turn.log, &self.subject(), why, seconds);
        Outcome::Over
    }

    /// The server ends: whoever waits for a login goes now, whoever has a session may finish it.
    pub(crate) fn drain(&mut self, turn: &mut Turn<'_>) -> Outcome {
        if self.pop3.is_logged_in() || self.ending.is_some() {
            return Outcome::Waits;
        }
        if self.pop3.waiting().may_reply() {
            let farewell = b"-ERR [SYS/TEMP] The server is shutting down\r\n";
            self.client.out.extend_from_slice(farewell);
            self.end(EndReason::Shutdown);
            return self.drive(turn);
        }
        self.over(EndReason::Shutdown, turn)
    }
}
