//! POP3 without I/O. Bytes and events go in; replies and actions for the caller come out.
//!
//! RFC 1939; CAPA (RFC 2449); response codes (RFC 3206); UTF8 and LANG (RFC 6856).

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

/// The next thing that the caller has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send this to auth.
    Login(Login),
    /// Begin TLS when the written replies have gone to the client. Drop all bytes that the client
    /// sent after STLS, because they came without TLS. Then call [`Pop3::secured`].
    StartTls,
    /// A trusted proxy has named its client. Check the limits for that client, then call
    /// [`Pop3::forwarded`].
    Forwarded(Forwarded),
    /// Send this request to the worker.
    Ask(FrontToWorker),
    /// Close the connection when the written replies have gone to the client.
    Close(End),
}

/// A message to auth about a login.
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// Check these credentials.
    Check(Credentials),
    /// Check the certificate that the client showed in its TLS handshake. The name is the one that
    /// the client asks for. `None`: the certificate gives the name.
    Certificate(Option<UserName>),
    /// Check the client's SCRAM proof.
    Prove(ScramProof),
    /// The client accepted the server's SCRAM signature. The login may go on.
    Proceed,
    /// The client cancelled the exchange, or broke its rules. Auth does not answer.
    Cancel,
}

/// The part of this connection's challenges that makes them different from all others.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Random numbers, new for each connection.
    pub unique: [u64; 2],
    /// This host's name.
    pub host: Rc<str>,
}

/// Size of replies after which [`Pop3::input`] takes no more pipelined commands, in bytes. The
/// caller writes these replies first. Without this bound a client that pipelines could fill the
/// memory.
const GATHER: usize = 8192;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// QUIT in a session. The update is done or has failed.
    Quit,
    /// QUIT before a login.
    QuitBeforeLogin,
    /// Too many bad commands.
    BadCommands,
    /// Too many failed logins.
    FailedLogins,
    /// The worker ended before QUIT, or broke the rules.
    Broken,
    /// The worker could not open the maildrop, or the user has too many sessions.
    NotOpened,
    /// The monitor started no worker, or an answer broke the rules. A later login may succeed.
    Temporary,
}

/// How many errors a client may make.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The connection ends after this many unknown or malformed commands.
    pub bad_commands: u32,
    /// The connection ends after this many failed logins.
    pub failed_logins: u32,
}

/// The protocol state of one connection.
#[derive(Debug)]
pub struct Pop3 {
    policy: Policy,
    offer: Offer,
    identity: Identity,
    /// Whether XCLIENT is offered: the peer is a trusted proxy and has not sent XCLIENT yet.
    forwards: bool,
    /// How many AUTH exchanges have begun. Each gets its own challenge.
    challenges: u32,
    method: authorization::Method,
    lines: Lines,
    state: State,
    user: Option<UserName>,
    bad: u32,
    failed: u32,
    settings: Option<Rc<FrontSettings>>,
    language: Language,
    /// The least time between two logins of this account, in seconds. `None`: the account is not
    /// known yet.
    login_delay_s: Option<u32>,
}

impl Pop3 {
    /// A new connection. `forwards`: the peer is a proxy that is trusted to name its client with
    /// XCLIENT.
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

    /// The same connection, with the configured texts and extensions.
    #[must_use]
    pub fn configured(self, settings: &Rc<FrontSettings>) -> Self {
        Self {
            settings: Some(Rc::clone(settings)),
            ..self
        }
    }

    /// The configured texts and extensions, or the defaults.
    fn pop3_settings(&self) -> &Pop3Settings {
        let settings = self.settings.as_ref();
        settings.map_or(&Pop3Settings::DEFAULT, |settings| &settings.pop3)
    }

    /// Continues after [`Action::Forwarded`]: the limits admit the proxy's client. `offer` is what
    /// that client may use.
    pub fn forwarded(&mut self, offer: Offer, out: &mut Vec<u8>) {
        self.forwards = false;
        // This also forgets a USER that came before XCLIENT, because it was not for this client.
        self.secured(offer);
        ok(out, format_args!("client noted"));
    }

    /// Writes the greeting (RFC 1939, section 4). After it, commands are accepted.
    pub fn greeting(&mut self, out: &mut Vec<u8>) {
        self.state = State::BeforeLogin(BeforeLogin::FRESH);
        let greeting = self.pop3_settings().greeting.as_ref();
        let greeting = greeting.map_or(Pop3Settings::GREETING, Text::as_str);
        // Dovecot's proxies look for exactly this word.
        let xclient = if self.forwards { "[XCLIENT] " } else { "" };
        match self.timestamp() {
            Some(timestamp) => ok(out, format_args!("{xclient}{greeting} {timestamp}")),
            None => ok(out, format_args!("{xclient}{greeting}")),
        }
    }

    /// Whether the client has sent the beginning of a line, but not its end.
    pub fn is_within_line(&self) -> bool {
        self.lines.is_partial()
    }

    /// What the connection waits for now.
    pub fn waiting(&self) -> Waiting {
        self.state.waiting()
    }

    /// Whether [`Pop3::input`] takes commands now. It takes none while an answer is due or the
    /// connection ends.
    pub fn wants_input(&self) -> bool {
        self.waiting() == Waiting::Client
    }

    /// The AUTH exchange that waits for the client's next message.
    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::BeforeLogin(BeforeLogin::Sasl(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// Takes commands from `bytes`. It stops at the first action for the caller, at the end of
    /// `bytes`, or when the replies reach 8192 bytes. Returns how many bytes it took.
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

    /// Answers a line that is too long. If the line was a message of an AUTH exchange, the exchange
    /// ends.
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

    /// Writes `+OK` and a phrase with these numbers in it. The texts are short, so no reply line is
    /// longer than 512 octets.
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

    /// Answers QUIT. The reply names popward only if CAPA names it too.
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

    /// Whether the client has logged in: the maildrop is open.
    pub fn is_logged_in(&self) -> bool {
        self.session().is_some()
    }

    /// Why no account can match the client's login. `None`: an account can match. The caller sends
    /// this to auth together with the login.
    pub fn impossible(&self) -> Option<Impossible> {
        match &self.state {
            State::BeforeLogin(BeforeLogin::Checking(check)) => check.impossible,
            _ => None,
        }
    }

    /// The method of the login, or of the last attempt.
    pub fn method(&self) -> &'static str {
        self.method.name()
    }

    /// The name of the user: as the client gave it or, after the grant, as auth gave it.
    pub fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    /// What the maildrop held when it was opened. `None` before a login.
    pub fn opened(&self) -> Option<Totals> {
        self.session().map(|session| session.opened)
    }

    /// What the update did. `None`: no update was done, or its result is not known yet.
    pub fn update(&self) -> Option<&Update> {
        self.session()?.update.as_ref()
    }

    /// The messages that the client retrieved completely.
    pub fn retrieved(&self) -> Totals {
        self.session()
            .map(|session| session.retrieved)
            .unwrap_or_default()
    }

    /// Whether `message` answers the client's request. A worker may begin to send a message ahead,
    /// before the client asks for it. Then the client's request must be RETR of that message. All
    /// other answers return true.
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

/// Writes `+OK` and a text that programs read. LANG does not change it.
fn ok(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "+OK {text}\r\n");
}

#[cfg(test)]
pub(crate) mod tests;
