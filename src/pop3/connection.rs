//! The protocol state of one connection, what others may ask of it, and how its replies are
//! written.

use super::action::{Action, End};
use super::language::Phrase;
use super::line::Lines;
use super::offer::Offer;
use super::state::{Activity, BeforeLogin, Method, Session, State, Waiting};
use crate::sasl::Exchange;
use popward_proto::auth::Impossible;
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_front::{FrontSettings, Language, Mechanism, Pop3Settings};
use popward_proto::session::{Totals, Update, WorkerToFront};
use std::rc::Rc;

/// The part of this connection's challenges that makes them different from all others.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Random numbers, new for each connection.
    pub unique: [u64; 2],
    /// This host's name.
    pub host: Rc<str>,
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
    pub(super) policy: Policy,
    pub(super) offer: Offer,
    pub(super) identity: Identity,
    /// Whether XCLIENT is offered: the peer is a trusted proxy and has not sent XCLIENT yet.
    pub(super) forwards: bool,
    /// How many AUTH exchanges have begun. Each gets its own challenge.
    pub(super) challenges: u32,
    pub(super) method: Method,
    pub(super) lines: Lines,
    pub(super) state: State,
    pub(super) user: Option<UserName>,
    pub(super) bad: u32,
    pub(super) failed: u32,
    pub(super) too_long: u32,
    pub(super) settings: Option<Rc<FrontSettings>>,
    pub(super) language: Language,
    /// The least time between two logins of this account, in seconds. `None`: the account is not
    /// known yet.
    pub(super) login_delay_s: Option<u32>,
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
            method: Method::default(),
            lines: Lines::default(),
            state: State::BeforeLogin(BeforeLogin::Connected),
            user: None,
            bad: 0,
            failed: 0,
            too_long: 0,
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
    pub(super) fn pop3_settings(&self) -> &Pop3Settings {
        let settings = self.settings.as_ref();
        settings.map_or(&Pop3Settings::DEFAULT, |settings| &settings.pop3)
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
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::BeforeLogin(BeforeLogin::Sasl(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// The timestamp of this connection's greeting (RFC 1939, section 7, APOP). `None`: APOP is not
    /// offered.
    pub(super) fn timestamp(&self) -> Option<Text<128>> {
        let offered = self.offer.permits_plainly(Mechanism::Apop);
        offered.then(|| self.challenge(0))
    }

    /// Makes a challenge in the form of RFC 1939's example: two decimal numbers and the host, as a
    /// message id. The numbers are decimal because Perl's `Mail::Transport::POP3` looks for decimal
    /// digits. Each connection and each `count` get a different text.
    pub(super) fn challenge(&self, count: u32) -> Text<128> {
        let [first, second] = self.identity.unique;
        // `second` is padded to a fixed width. Otherwise two different pairs of `second` and
        // `count` could give the same text.
        let host = &self.identity.host;
        Text::truncated(&format!("<{first}.{second:020}{count}@{host}>"))
    }

    pub(super) fn bad_command(&mut self, why: Phrase, out: &mut Vec<u8>) -> Action {
        self.bad += 1;
        if self.bad >= self.policy.bad_commands {
            self.error(Phrase::TooManyBadCommands, out);
            return self.close(End::BadCommands);
        }
        self.error(why, out);
        Action::None
    }

    pub(super) fn close(&mut self, end: End) -> Action {
        self.state.close();
        Action::Close(end)
    }

    /// Writes `+OK` and a phrase with these numbers in it. The texts are short, so no reply line is
    /// longer than 512 octets.
    pub(super) fn ok(&self, phrase: Phrase, numbers: &[u64], out: &mut Vec<u8>) {
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
    pub(super) fn error(&self, phrase: Phrase, out: &mut Vec<u8>) {
        let text = phrase.text(self.language);
        for part in ["-ERR ", phrase.code(), text, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Answers QUIT. The reply names popward only if CAPA names it too.
    pub(super) fn sign_off(&self, out: &mut Vec<u8>) {
        let text = Phrase::SigningOff.text(self.language);
        let named = self.pop3_settings().implementation.is_none();
        let name = if named { "popward " } else { "" };
        for part in ["+OK ", name, text, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Session(session) => Some(session),
            State::BeforeLogin(_) => None,
        }
    }

    /// Whether the client has logged in: the maildrop is open.
    pub fn is_logged_in(&self) -> bool {
        self.session().is_some()
    }

    /// How many lines before the login were too long.
    pub fn lines_too_long(&self) -> u32 {
        self.too_long
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
        let asked = match self.session().map(|session| &session.activity) {
            Some(Activity::Asked(request)) => request.retrieves(),
            _ => None,
        };
        match message {
            WorkerToFront::Ahead(number, _) => asked == Some(*number),
            _ => true,
        }
    }
}

/// Writes `+OK` and a text that programs read. LANG does not change it.
pub(super) fn ok(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(out, "+OK {text}\r\n");
}
