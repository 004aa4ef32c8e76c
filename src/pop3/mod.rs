//! POP3 without I/O (RFC 1939, CAPA of RFC 2449, response codes of RFC 3206): bytes and events in, replies and what is
//! to be done out.

mod authorization;
pub mod command;
mod line;
mod transaction;

use crate::sasl::{Exchange, Then};
pub use authorization::{Mechanisms, Offer, Security};
use line::Lines;
use popward_proto::auth::{Credentials, ScramProof};
use popward_proto::bounded::UserName;
use popward_proto::session::{FrontToWorker, OpenFailure, Refusal, Totals, Update, WorkerToFront};
use std::rc::Rc;

/// What the caller has to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Tell auth.
    Login(Login),
    /// Begin TLS once what was written has gone; forget what else has come. Then [`Pop3::secured`].
    StartTls,
    /// Ask the worker.
    Ask(FrontToWorker),
    /// Close, once what was written has gone.
    Close(End),
}

/// What auth is told of a login.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// Check these.
    Check(Credentials),
    /// Check the client's certificate, which its connection has, for this name or its own.
    Certificate(Option<UserName>),
    /// The client's proof.
    Prove(ScramProof),
    /// The client took the server's signature.
    Proceed,
    /// The client gave up, or broke the rules. Nothing is answered.
    Cancel,
}

/// What distinguishes this connection's challenges from all others'.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Random, and new with each connection.
    pub unique: [u8; 16],
    /// This host's name.
    pub host: Rc<str>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// QUIT, after the update.
    Quit,
    /// QUIT before a login.
    QuitBeforeLogin,
    /// Too many bad commands.
    BadCommands,
    /// Too many failed logins.
    FailedLogins,
    /// The worker ended the session.
    Broken,
    /// The maildrop could not be opened.
    NotOpened,
    /// Something that may pass stood in the way.
    Temporary,
}

/// What is tolerated.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Unknown or malformed commands until the connection is closed.
    pub bad_commands: u32,
    /// Failed logins until the connection is closed.
    pub failed_logins: u32,
    /// Seconds that an account has to wait between two logins, which auth sees to; 0 for none.
    pub login_delay_s: u32,
}

/// Where a session is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// RFC 1939, section 4.
    Authorization(authorization::Authorization),
    /// Of AUTH, the client's next message is waited for.
    Sasl(Box<Exchange>),
    /// Auth was asked; then the worker opens.
    Checking(Box<Checking>),
    /// STLS: TLS begins.
    Securing,
    /// RFC 1939, section 5.
    Transaction,
    /// The worker was asked.
    Asked,
    /// Data packets come.
    Streaming {
        retrieved: Option<u64>,
    },
    /// QUIT was asked, and how it went once that is known; the locks are not yet free.
    Update(Option<bool>),
    Closing,
}

/// A login that auth has to do with.
#[derive(Debug, PartialEq, Eq)]
struct Checking {
    /// Whether anybody could be who was named.
    valid: bool,
    then: Then,
}

/// One connection's protocol state.
#[derive(Debug)]
pub struct Pop3 {
    policy: Policy,
    offer: Offer,
    identity: Identity,
    /// How many challenges were made.
    challenges: u32,
    method: authorization::Method,
    lines: Lines,
    state: State,
    user: Option<UserName>,
    opened: Option<Totals>,
    update: Option<Update>,
    retrieved: Totals,
    retrieving: bool,
    bad: u32,
    failed: u32,
}

impl Pop3 {
    /// A new connection.
    pub fn new(policy: Policy, offer: Offer, identity: Identity) -> Self {
        Self {
            policy,
            offer,
            identity,
            challenges: 0,
            method: authorization::Method::default(),
            lines: Lines::default(),
            state: State::Authorization(authorization::Authorization::default()),
            user: None,
            opened: None,
            update: None,
            retrieved: Totals::default(),
            retrieving: false,
            bad: 0,
            failed: 0,
        }
    }

    /// Writes the greeting (RFC 1939, section 4).
    pub fn greeting(&self, out: &mut Vec<u8>) {
        match self.timestamp() {
            Some(timestamp) => ok(out, format_args!("popward ready {timestamp}")),
            None => ok(out, format_args!("popward ready")),
        }
    }

    /// Whether commands may be given now: false while an answer is due and when all is over.
    pub fn wants_input(&self) -> bool {
        matches!(
            self.state,
            State::Authorization(_) | State::Sasl(_) | State::Transaction
        )
    }

    /// Takes commands until something is to be done or the bytes are used up; returns how many bytes it took.
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Action) {
        let mut taken = 0;
        while self.wants_input() && taken < bytes.len() {
            let mut lines = std::mem::take(&mut self.lines);
            let sasl = matches!(self.state, State::Sasl(_));
            let (used, line) = lines.next(&bytes[taken..], sasl);
            taken += used;
            let action = match line {
                None => Action::None,
                Some(Ok(line)) if sasl => self.sasl_line(line, out),
                Some(Err(line::TooLong)) => self.too_long(out),
                Some(Ok(line)) => match command::parse(line) {
                    Ok(command) => self.command(command, out),
                    Err(command::Malformed::Unknown) => self.bad_command("unknown command", out),
                    Err(command::Malformed::Arguments) => self.bad_command("bad arguments", out),
                },
            };
            lines.done();
            self.lines = lines;
            if action != Action::None {
                return (taken, action);
            }
        }
        (taken, Action::None)
    }

    fn command(&mut self, command: command::Command<'_>, out: &mut Vec<u8>) -> Action {
        if matches!(self.state, State::Transaction) {
            self.transaction(command, out)
        } else {
            self.authorization(command, out)
        }
    }

    fn bad_command(&mut self, why: &str, out: &mut Vec<u8>) -> Action {
        self.bad += 1;
        if self.bad >= self.policy.bad_commands {
            error(out, "too many bad commands");
            return self.close(End::BadCommands);
        }
        error(out, why);
        Action::None
    }

    /// A line longer than any may be. If it was a message of AUTH, that is over.
    fn too_long(&mut self, out: &mut Vec<u8>) -> Action {
        match &self.state {
            State::Sasl(exchange) => {
                let known = exchange.is_known_to_auth();
                self.give_up(known, "line too long", out)
            }
            _ => self.bad_command("line too long", out),
        }
    }

    fn close(&mut self, end: End) -> Action {
        self.state = State::Closing;
        Action::Close(end)
    }

    /// There will be no worker.
    pub fn no_session(&mut self, out: &mut Vec<u8>) -> Action {
        error(out, "[SYS/TEMP] cannot open the maildrop now");
        self.close(End::Temporary)
    }

    /// Auth granted: whose maildrop it is, whatever the client called itself.
    pub fn granted(&mut self, user: UserName) {
        self.user = Some(user);
    }

    /// The worker said something. With `Listing`, `Body` and `Ahead` data come.
    pub fn worker(&mut self, message: &WorkerToFront, out: &mut Vec<u8>) -> Action {
        let next = match message {
            WorkerToFront::Opened(totals) => return self.opened_now(*totals, out),
            WorkerToFront::NotOpened(why) => {
                error(
                    out,
                    match why {
                        OpenFailure::InUse => {
                            "[IN-USE] the maildrop is locked by another session or program"
                        }
                        OpenFailure::Temporary => "[SYS/TEMP] the maildrop cannot be opened now",
                        OpenFailure::Permanent => "[SYS/PERM] the maildrop cannot be opened",
                    },
                );
                return self.close(End::NotOpened);
            }
            WorkerToFront::Totals(t) => {
                ok(out, format_args!("{} {}", t.messages, t.octets));
                State::Transaction
            }
            WorkerToFront::Listing(t) => {
                ok(out, format_args!("{} messages", t.messages));
                State::Streaming { retrieved: None }
            }
            WorkerToFront::Body(octets) | WorkerToFront::Ahead(_, octets) => {
                ok(out, format_args!("{octets} octets"));
                State::Streaming {
                    retrieved: self.retrieving.then_some(*octets),
                }
            }
            WorkerToFront::Size(number, octets) => {
                ok(out, format_args!("{number} {octets}"));
                State::Transaction
            }
            WorkerToFront::Unique(number, id) => {
                ok(out, format_args!("{number} {id}"));
                State::Transaction
            }
            WorkerToFront::Deleted(number) => {
                ok(out, format_args!("message {number} deleted"));
                State::Transaction
            }
            WorkerToFront::Last(number) => {
                ok(out, format_args!("{number}"));
                State::Transaction
            }
            WorkerToFront::Refused(why) => {
                error(
                    out,
                    match why {
                        Refusal::NoSuchMessage => "no such message",
                        Refusal::AlreadyDeleted => "message is deleted",
                    },
                );
                State::Transaction
            }
            WorkerToFront::Broken(_) => return self.worker_gone(out),
            WorkerToFront::Committed(update) => {
                self.update = Some(*update);
                State::Update(Some(true))
            }
            WorkerToFront::NotCommitted(_) => State::Update(Some(false)),
        };
        self.state = next;
        Action::None
    }

    fn opened_now(&mut self, totals: Totals, out: &mut Vec<u8>) -> Action {
        // A login that must not be is none, whatever was granted.
        let granted = matches!(&self.state, State::Checking(checking)
            if checking.valid && matches!(checking.then, Then::Grant | Then::TokenGrant(_)));
        if !granted {
            return self.no_session(out);
        }
        self.opened = Some(totals);
        self.state = State::Transaction;
        ok(
            out,
            format_args!("{} messages, {} octets", totals.messages, totals.octets),
        );
        Action::None
    }

    /// A data packet has been written to the client; the last one ends the reply.
    pub fn data(&mut self, last: bool, out: &mut Vec<u8>) {
        if let (true, State::Streaming { retrieved }) = (last, &self.state) {
            if let Some(octets) = retrieved {
                self.retrieved.messages = self.retrieved.messages.saturating_add(1);
                self.retrieved.octets = self.retrieved.octets.saturating_add(*octets);
            }
            out.extend_from_slice(b".\r\n");
            self.state = State::Transaction;
        }
    }

    /// The worker has gone and its locks with it. `finished`: it did not finish its update, and another one did.
    pub fn worker_ended(&mut self, finished: bool, out: &mut Vec<u8>) -> Action {
        match self.state {
            State::Update(said) if finished || said == Some(true) => {
                ok(out, format_args!("popward signing off"));
            }
            State::Update(_) => error(out, "[SYS/TEMP] deleted messages not removed"),
            State::Closing => return Action::None,
            _ => return self.worker_gone(out),
        }
        self.close(End::Quit)
    }

    /// The session's socket is closed.
    pub fn worker_gone(&mut self, out: &mut Vec<u8>) -> Action {
        match self.state {
            // The locks are not free yet: `worker_ended` answers.
            State::Update(_) | State::Closing => return Action::None,
            // Within a reply nothing can be said.
            State::Streaming { .. } => {}
            _ => error(out, "[SYS/TEMP] the session was broken off"),
        }
        self.close(End::Broken)
    }

    /// Whether PASS was answered with `+OK`.
    pub fn is_logged_in(&self) -> bool {
        self.opened.is_some()
    }

    /// How the client logged in, or tried to last.
    pub fn method(&self) -> &'static str {
        self.method.name()
    }

    /// The name that was given.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// What was in the maildrop.
    pub fn opened(&self) -> Option<Totals> {
        self.opened
    }

    /// What the update did.
    pub fn update(&self) -> Option<&Update> {
        self.update.as_ref()
    }

    /// What was retrieved completely.
    pub fn retrieved(&self) -> Totals {
        self.retrieved
    }
}

/// Writes `+OK text`. No reply line is longer than 512 octets: all texts are short.
fn ok(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "+OK {text}\r\n");
}

/// Writes `-ERR text`.
fn error(out: &mut Vec<u8>, text: &str) {
    for part in ["-ERR ", text, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
pub(crate) mod tests;
