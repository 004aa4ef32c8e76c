//! POP3 without I/O (RFC 1939, CAPA of RFC 2449, response codes of RFC 3206, UTF8 and LANG of RFC 6856): bytes and events in,
//! replies and what is to be done out.

mod authorization;
pub mod command;
mod language;
mod line;
mod state;
mod transaction;
mod worker;

use crate::proxy::xclient::Forwarded;
use crate::sasl::Exchange;
pub use authorization::{Mechanisms, Offer, Security};
use language::Phrase;
use line::Lines;
use popward_proto::auth::{Credentials, Impossible, ScramProof};
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_front::{FrontSettings, Language, Pop3Settings};
use popward_proto::session::{FrontToWorker, Totals, Update, WorkerToFront};
pub use state::Waiting;
use state::{BeforeLogin, Session, State, Step};
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
    /// A proxy has said whose this connection is: see whether there is room for that client, and say
    /// [`Pop3::forwarded`].
    Forwarded(Forwarded),
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
    pub unique: [u64; 2],
    /// This host's name.
    pub host: Rc<str>,
}

/// Replies to pipelined commands that are written at once, in bytes: more wait until these have been taken.
const GATHER: usize = 8192;

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
}

/// One connection's protocol state.
#[derive(Debug)]
pub struct Pop3 {
    policy: Policy,
    offer: Offer,
    identity: Identity,
    /// Whether XCLIENT is offered: the peer is a proxy that is trusted, and has not said it yet.
    forwards: bool,
    /// How many challenges were made.
    challenges: u32,
    method: authorization::Method,
    lines: Lines,
    state: State,
    user: Option<UserName>,
    bad: u32,
    failed: u32,
    settings: Option<Rc<FrontSettings>>,
    language: Language,
    /// How many seconds the account's logins are apart, once it is known whose they are.
    login_delay_s: Option<u32>,
}

impl Pop3 {
    /// A new connection. `forwards`: it comes from a proxy whose word on its client is taken (XCLIENT).
    pub fn new(policy: Policy, offer: Offer, identity: Identity, forwards: bool) -> Self {
        Self {
            policy,
            offer,
            identity,
            forwards,
            challenges: 0,
            method: authorization::Method::default(),
            lines: Lines::default(),
            state: State::BeforeLogin(BeforeLogin::Connected),
            user: None,
            bad: 0,
            failed: 0,
            settings: None,
            language: Language::English,
            login_delay_s: None,
        }
    }

    /// The same, with what is configured to be said and offered.
    #[must_use]
    pub fn configured(self, settings: &Rc<FrontSettings>) -> Self {
        Self {
            settings: Some(Rc::clone(settings)),
            ..self
        }
    }

    /// What is configured to be said and offered, or the defaults.
    fn pop3_settings(&self) -> &Pop3Settings {
        let settings = self.settings.as_ref();
        settings.map_or(&Pop3Settings::DEFAULT, |settings| &settings.pop3)
    }

    /// There is room for the client that a proxy named, and this is what that client may use.
    pub fn forwarded(&mut self, offer: Offer, out: &mut Vec<u8>) {
        self.forwards = false;
        // Whom USER named, it named for somebody else.
        self.secured(offer);
        ok(out, format_args!("client noted"));
    }

    /// Writes the greeting (RFC 1939, section 4). From here on commands are taken.
    pub fn greeting(&mut self, out: &mut Vec<u8>) {
        self.state = State::BeforeLogin(BeforeLogin::FRESH);
        let greeting = self.pop3_settings().greeting.as_ref();
        let greeting = greeting.map_or(Pop3Settings::GREETING, Text::as_str);
        // The form that Dovecot's proxies look for.
        let xclient = if self.forwards { "[XCLIENT] " } else { "" };
        match self.timestamp() {
            Some(timestamp) => ok(out, format_args!("{xclient}{greeting} {timestamp}")),
            None => ok(out, format_args!("{xclient}{greeting}")),
        }
    }

    /// Whether a command's line has begun and is not complete.
    pub fn is_within_line(&self) -> bool {
        self.lines.is_partial()
    }

    /// What the connection waits for.
    pub fn waiting(&self) -> Waiting {
        self.state.waiting()
    }

    /// Whether commands may be given now: not while an answer is due, and not at the end.
    pub fn wants_input(&self) -> bool {
        self.waiting() == Waiting::Client
    }

    /// The exchange of AUTH whose next message is due.
    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::BeforeLogin(BeforeLogin::Sasl(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// Takes commands until something is to be done, the bytes are used up or replies have gathered; returns how many bytes
    /// it took.
    pub fn input(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Action) {
        let mut taken = 0;
        let most = out.len() + GATHER;
        while self.wants_input() && taken < bytes.len() && out.len() < most {
            let mut lines = std::mem::take(&mut self.lines);
            let sasl = self.exchange().is_some();
            let (used, line) = lines.next(&bytes[taken..], sasl);
            taken += used;
            let action = match line {
                None => Action::None,
                Some(Ok(line)) if sasl => self.sasl_line(line, out),
                Some(Err(line::TooLong)) => self.too_long(out),
                Some(Ok(line)) => match command::parse(line) {
                    Ok(command) => self.command(command, out),
                    Err(command::Malformed::Unknown) => {
                        self.bad_command(Phrase::UnknownCommand, out)
                    }
                    Err(command::Malformed::Arguments) => {
                        self.bad_command(Phrase::BadArguments, out)
                    }
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
        if self.is_logged_in() {
            self.transaction(command, out)
        } else {
            self.authorization(command, out)
        }
    }

    fn bad_command(&mut self, why: Phrase, out: &mut Vec<u8>) -> Action {
        self.bad += 1;
        if self.bad >= self.policy.bad_commands {
            self.error(Phrase::TooManyBadCommands, out);
            return self.close(End::BadCommands);
        }
        self.error(why, out);
        Action::None
    }

    /// A line longer than any may be. If it was a message of AUTH, that is over.
    fn too_long(&mut self, out: &mut Vec<u8>) -> Action {
        match self.exchange() {
            Some(Exchange::TokenRefused) => self.sasl_line(b"", out),
            Some(exchange) => {
                let known = exchange.is_known_to_auth();
                self.give_up(known, Phrase::LineTooLong, out)
            }
            None => self.bad_command(Phrase::LineTooLong, out),
        }
    }

    fn close(&mut self, end: End) -> Action {
        self.state.close();
        Action::Close(end)
    }

    /// Writes `+OK` and a phrase, with these numbers in it. No reply line is longer than 512 octets: all texts are short.
    fn ok(&self, phrase: Phrase, numbers: &[u64], out: &mut Vec<u8>) {
        out.extend_from_slice(b"+OK ");
        let mut texts = phrase.text(self.language).split("{}");
        out.extend_from_slice(texts.next().unwrap_or_default().as_bytes());
        for (number, text) in numbers.iter().zip(texts) {
            out.extend_from_slice(number.to_string().as_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes `-ERR` and a phrase with its response code.
    fn error(&self, phrase: Phrase, out: &mut Vec<u8>) {
        let text = phrase.text(self.language);
        for part in ["-ERR ", phrase.code(), text, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Answers QUIT. Says who is there only where CAPA does too.
    fn sign_off(&self, out: &mut Vec<u8>) {
        let text = Phrase::SigningOff.text(self.language);
        let named = self.pop3_settings().implementation.is_none();
        let name = if named { "popward " } else { "" };
        for part in ["+OK ", name, text, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Session(session) => Some(session),
            State::BeforeLogin(_) => None,
        }
    }

    /// Whether PASS was answered with `+OK`.
    pub fn is_logged_in(&self) -> bool {
        self.session().is_some()
    }

    /// Why nobody can be who the client says, if so: for auth, with what [`Action::Login`] has it check.
    pub fn impossible(&self) -> Option<Impossible> {
        match &self.state {
            State::BeforeLogin(BeforeLogin::Checking(check)) => check.impossible,
            _ => None,
        }
    }

    /// How the client logged in, or tried to last.
    pub fn method(&self) -> &'static str {
        self.method.name()
    }

    /// The name that was given.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// What was in the maildrop. `None` before a login.
    pub fn opened(&self) -> Option<Totals> {
        self.session().map(|session| session.opened)
    }

    /// What the update did.
    pub fn update(&self) -> Option<&Update> {
        self.session()?.update.as_ref()
    }

    /// What was retrieved completely.
    pub fn retrieved(&self) -> Totals {
        self.session()
            .map(|session| session.retrieved)
            .unwrap_or_default()
    }

    /// Whether `message` is the beginning of the answer to what the client asked for, should it have come ahead.
    pub fn expects(&self, message: &WorkerToFront) -> bool {
        let asked = match self.session().map(|session| &session.step) {
            Some(Step::Asked(request)) => request.retrieves(),
            _ => None,
        };
        match message {
            WorkerToFront::Ahead(number, _) => asked == Some(*number),
            _ => true,
        }
    }
}

/// Writes `+OK` and what a program reads.
fn ok(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "+OK {text}\r\n");
}

#[cfg(test)]
pub(crate) mod tests;
