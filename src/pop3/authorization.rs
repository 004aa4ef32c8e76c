//! The AUTHORIZATION state (RFC 1939, section 4): USER and PASS, APOP, AUTH (RFC 5034), STLS (RFC 2595), UTF8 and
//! LANG (RFC 6856), CAPA, QUIT.

use super::command::Command;
use super::language::{self, Phrase};
use super::state::{BeforeLogin, Check, NamedUser, State};
use super::{Action, Login, Pop3};
use crate::proxy::xclient;
use crate::sasl::{self, Exchange, Heard, Named, Then};
use base64ct::{Base64, Encoding};
use popward_proto::auth::{AuthRefusal, Credentials};
use popward_proto::bounded::{Bytes, Text, UserName};
use popward_proto::monitor_front::{Language, MECHANISMS_MAX, Mechanism, Pop3Settings};
use zeroize::Zeroizing;

/// What a connection may use as it is: another set before and after STLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether there is TLS, or could be.
    pub security: Security,
    /// Whether a password may come as it is: over TLS, or where the configuration permits it without.
    pub passwords: bool,
    /// The configured mechanisms.
    pub mechanisms: Mechanisms,
    /// Whether the client has shown a certificate, and signed with its key.
    pub certificate: bool,
    /// What a client can bind its login to (RFC 9266, `tls-exporter`).
    pub binding: Option<[u8; 32]>,
}

/// Whether there is TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// It is active.
    Tls,
    /// STLS makes it so.
    Stls,
    /// There is no certificate.
    Never,
}

/// A set of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mechanisms(u16);

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        const { assert!(MECHANISMS_MAX <= 16) };
        Self(
            mechanisms
                .into_iter()
                .fold(0, |set, one| set | 1 << one as u16),
        )
    }
}

impl Mechanisms {
    fn has(self, one: Mechanism) -> bool {
        self.0 & 1 << one as u16 != 0
    }
}

impl Offer {
    /// Whether a mechanism may be used now.
    pub(crate) fn permits(&self, named: Named) -> bool {
        use Mechanism as M;
        let possible = match named.mechanism {
            // A token is as good as a password to whoever sees it (RFC 7628, section 5).
            M::User | M::Plain | M::Login | M::Oauthbearer | M::Xoauth2 => self.passwords,
            M::External => self.certificate,
            M::Apop | M::CramMd5 => true,
            M::ScramSha1 | M::ScramSha256 => !named.plus || self.binding.is_some(),
        };
        possible && self.mechanisms.has(named.mechanism)
    }

    fn permits_plainly(&self, mechanism: Mechanism) -> bool {
        let plus = false;
        self.permits(Named { mechanism, plus })
    }
}

/// How a login was made, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Method {
    #[default]
    UserPass,
    Apop,
    Sasl(Named),
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UserPass => "USER/PASS",
            Self::Apop => "APOP",
            Self::Sasl(named) => named.name(),
        }
    }
}

impl Pop3 {
    pub(super) fn authorization(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Action {
        match command {
            Command::User(_) | Command::Pass(_) if !self.offer.permits_plainly(Mechanism::User) => {
                self.error(self.no_password(), out);
            }
            Command::User(name) => {
                let user = sasl::user_name(name);
                let user = user.map_or(NamedUser::Impossible, NamedUser::Possible);
                self.state = State::BeforeLogin(BeforeLogin::Authorization(user));
                self.ok(Phrase::Password, &[], out);
            }
            Command::Pass(secret) => return self.pass(secret, out),
            Command::Apop(name, digest) => return self.apop(name, digest, out),
            Command::Auth(None) => self.mechanisms(out),
            Command::Auth(Some((name, response))) => return self.auth(name, response, out),
            Command::Stls => match self.offer.security {
                Security::Stls => {
                    self.state = State::BeforeLogin(BeforeLogin::Securing);
                    self.ok(Phrase::BeginTls, &[], out);
                    return Action::StartTls;
                }
                Security::Tls => return self.bad_command(Phrase::TlsActive, out),
                Security::Never => return self.bad_command(Phrase::NoTls, out),
            },
            Command::Xclient(_) if !self.forwards => {
                return self.bad_command(Phrase::UnknownCommand, out);
            }
            Command::Xclient(arguments) => match xclient::parse(arguments) {
                Some(forwarded) => return Action::Forwarded(forwarded),
                None => return self.bad_command(Phrase::BadArguments, out),
            },
            Command::Capa => self.capabilities(out),
            Command::Lang(range) => self.lang(range, out),
            Command::Utf8 if self.pop3_settings().utf8 => self.ok(Phrase::Utf8, &[], out),
            Command::Utf8 => return self.bad_command(Phrase::UnknownCommand, out),
            Command::Quit => {
                self.sign_off(out);
                return self.close(super::End::QuitBeforeLogin);
            }
            _ => return self.bad_command(Phrase::NotBeforeLogin, out),
        }
        Action::None
    }

    fn no_password(&self) -> Phrase {
        if self.offer.passwords {
            Phrase::NoUser
        } else {
            Phrase::TlsOnly
        }
    }

    /// The connection is as it will be: greeted next, or secured. What was said before STLS is forgotten (RFC 2595,
    /// section 4).
    pub fn secured(&mut self, offer: Offer) {
        let unbegun = matches!(self.state, State::BeforeLogin(BeforeLogin::Connected));
        let before_login = matches!(
            self.state,
            State::BeforeLogin(BeforeLogin::Securing | BeforeLogin::Authorization(_))
        );
        if unbegun {
            self.offer = offer;
        } else if before_login {
            self.offer = offer;
            self.user = None;
            self.language = Language::English;
            self.state = State::BeforeLogin(BeforeLogin::FRESH);
        }
    }

    fn pass(&mut self, secret: &[u8], out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(BeforeLogin::Authorization(user)) = &mut self.state else {
            return Action::None;
        };
        let user = match std::mem::take(user) {
            NamedUser::Nobody => return self.bad_command(Phrase::UserFirst, out),
            NamedUser::Impossible => None,
            NamedUser::Possible(user) => Some(user),
        };
        self.method = Method::UserPass;
        self.heard(sasl::password(user, secret), out)
    }

    fn apop(&mut self, name: &[u8], digest: [u8; 16], out: &mut Vec<u8>) -> Action {
        let Some(timestamp) = self.timestamp() else {
            return self.bad_command(Phrase::NoApop, out);
        };
        self.method = Method::Apop;
        self.heard(sasl::apop(name, digest, timestamp), out)
    }

    /// This connection's timestamp (RFC 1939, section 7, APOP), where there is APOP.
    pub(super) fn timestamp(&self) -> Option<Text<128>> {
        let offered = self.offer.permits_plainly(Mechanism::Apop);
        offered.then(|| self.challenge(0))
    }

    /// A text like the one in RFC 1939's example: two decimal numbers and the host, as a message id. Perl's
    /// `Mail::Transport::POP3` looks for decimal digits. No other connection gets the same text, and this connection gets it
    /// for no other count.
    fn challenge(&self, count: u32) -> Text<128> {
        let [first, second] = self.identity.unique;
        // `second` has all its digits, so that no two pairs of it and a count read alike.
        let host = &self.identity.host;
        Text::truncated(&format!("<{first}.{second:020}{count}@{host}>"))
    }

    /// AUTH alone: what there is, as the clients that ask so expect it.
    fn mechanisms(&self, out: &mut Vec<u8>) {
        self.ok(Phrase::Mechanisms, &[], out);
        for name in Named::offered(&self.offer) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    fn auth(&mut self, name: &[u8], response: Option<&[u8]>, out: &mut Vec<u8>) -> Action {
        let Some(named) = Named::find(name).filter(|named| self.offer.permits(*named)) else {
            return self.bad_command(Phrase::NoSuchMechanism, out);
        };
        self.method = Method::Sasl(named);
        self.challenges = self.challenges.saturating_add(1);
        let challenge = self.challenge(self.challenges);
        let (first, exchange) = Exchange::begin(named, &self.offer, challenge);
        match response {
            None => {
                continuation(&first, out);
                self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(exchange)));
                Action::None
            }
            Some(_) if !exchange.is_client_first() => self.bad_command(Phrase::ServerBegins, out),
            // An initial response that is there and empty (RFC 5034, section 4).
            Some(b"=") => self.hear_message(exchange, b"", out),
            Some(response) => self.encoded(exchange, response, out),
        }
    }

    /// A line that is a client's message.
    pub(super) fn sasl_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(state) = &mut self.state else {
            return Action::None;
        };
        let BeforeLogin::Sasl(exchange) = std::mem::replace(state, BeforeLogin::FRESH) else {
            return Action::None;
        };
        if *exchange == Exchange::TokenRefused {
            // Whatever the client says to it (RFC 7628, section 3.2.3: `*` will do as well), it is refused.
            return self.heard(exchange.hear(b""), out);
        }
        if line == b"*" {
            let known = exchange.is_known_to_auth();
            return self.give_up(known, Phrase::Cancelled, out);
        }
        match line.trim_ascii() {
            // RFC 5034 has an equals sign for an empty initial response. Some clients send it here too, and base64 never is one.
            b"=" => self.hear_message(*exchange, b"", out),
            line => self.encoded(*exchange, line, out),
        }
    }

    fn encoded(&mut self, exchange: Exchange, line: &[u8], out: &mut Vec<u8>) -> Action {
        let decoded = std::str::from_utf8(line).ok().map(Base64::decode_vec);
        if let Some(Ok(message)) = decoded {
            return self.hear_message(exchange, &Zeroizing::new(message), out);
        }
        let known = exchange.is_known_to_auth();
        self.give_up(known, Phrase::NotBase64, out)
    }

    /// Takes a decoded message of AUTH.
    fn hear_message(&mut self, exchange: Exchange, message: &[u8], out: &mut Vec<u8>) -> Action {
        let known = exchange.is_known_to_auth();
        match exchange.hear(message) {
            // It was right in form, and is no message of this exchange: another channel, another nonce.
            Heard::Malformed => self.give_up(known, Phrase::NotOfTheMechanism, out),
            heard => self.heard(heard, out),
        }
    }

    /// The exchange is over and nothing was found out. Auth is told if it knows of it.
    pub(super) fn give_up(&mut self, known: bool, why: Phrase, out: &mut Vec<u8>) -> Action {
        self.state = State::BeforeLogin(BeforeLogin::FRESH);
        match self.bad_command(why, out) {
            Action::None if known => Action::Login(Login::Cancel),
            action => action,
        }
    }

    /// Does what a message came to.
    fn heard(&mut self, heard: Heard, out: &mut Vec<u8>) -> Action {
        match heard {
            Heard::Challenge(message, exchange) => {
                continuation(&message, out);
                self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(exchange)));
                Action::None
            }
            Heard::Login {
                login,
                impossible,
                then,
            } => {
                if let Login::Check(credentials) = &login {
                    self.user = named_by(credentials);
                }
                self.state =
                    State::BeforeLogin(BeforeLogin::Checking(Box::new(Check { impossible, then })));
                Action::Login(login)
            }
            Heard::Refused => self.refused(AuthRefusal::Credentials, out),
            Heard::Malformed => self.bad_command(Phrase::BadArguments, out),
        }
    }

    /// Auth refused.
    pub fn auth_refused(&mut self, why: AuthRefusal, out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(BeforeLogin::Checking(check)) = &self.state else {
            return Action::None;
        };
        if let (AuthRefusal::Credentials, Then::TokenGrant(named)) = (why, &check.then) {
            continuation(sasl::refusal(*named), out);
            self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(Exchange::TokenRefused)));
            return Action::None;
        }
        self.refused(why, out)
    }

    fn refused(&mut self, why: AuthRefusal, out: &mut Vec<u8>) -> Action {
        self.state = State::BeforeLogin(BeforeLogin::FRESH);
        self.user = None;
        match why {
            AuthRefusal::Credentials => self.error(Phrase::WrongPassword, out),
            AuthRefusal::TooSoon => self.error(Phrase::TooSoon, out),
            AuthRefusal::Temporary => self.error(Phrase::NoLoginNow, out),
        }
        self.failed += 1;
        if self.failed >= self.policy.failed_logins {
            return self.close(super::End::FailedLogins);
        }
        Action::None
    }

    /// The time for a login is over.
    pub fn login_time_over(&mut self, out: &mut Vec<u8>) {
        self.error(Phrase::LoginTime, out);
        self.state.close();
    }

    /// Auth's challenge (SCRAM's `server-first-message`). As of all that auth says: where nothing is looked at, it is late
    /// and means nothing; where something else is, it ends the session.
    pub fn auth_challenge(&mut self, first: &str, out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(BeforeLogin::Checking(check)) = &self.state else {
            return Action::None;
        };
        let Then::ScramChallenge(started) = &check.then else {
            return self.no_session(out);
        };
        if let Some(challenged) = started.clone().challenged(first) {
            continuation(first.as_bytes(), out);
            self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(Exchange::ScramProof(
                challenged,
            ))));
            return Action::None;
        }
        // Auth keeps it until it is told, and no two logins of a session are under way.
        match self.refused(AuthRefusal::Temporary, out) {
            Action::None => Action::Login(Login::Cancel),
            action => action,
        }
    }

    /// Auth's signature: the client's proof was right (SCRAM's `server-final-message`). RFC 5034, section 4: it goes as a
    /// challenge, and the client answers with nothing.
    pub fn auth_signature(&mut self, signature: &Bytes<32>, out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(BeforeLogin::Checking(check)) = &self.state else {
            return Action::None;
        };
        if check.then != Then::ScramSignature || check.impossible.is_some() {
            return self.no_session(out);
        }
        let last = format!("v={}", Base64::encode_string(signature.as_slice()));
        continuation(last.as_bytes(), out);
        self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(Exchange::ScramEnd)));
        Action::None
    }

    /// CAPA (RFC 2449, section 5), in either state.
    pub(super) fn capabilities(&self, out: &mut Vec<u8>) {
        self.ok(Phrase::Capabilities, &[], out);
        out.extend_from_slice(
            b"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nLANG\r\n",
        );
        // Before a login the most that it may be, and that the account's own is to be had after it (RFC 2449, section 6.5).
        let (delay, differs) = match self.login_delay_s {
            Some(own) => (own, ""),
            None if self.pop3_settings().login_delay_differs => {
                (self.pop3_settings().login_delay_s, " USER")
            }
            None => (self.pop3_settings().login_delay_s, ""),
        };
        if delay > 0 {
            out.extend_from_slice(format!("LOGIN-DELAY {delay}{differs}\r\n").as_bytes());
        }
        // Without the argument USER: names and passwords are taken as they are, not prepared (RFC 6856, section 2.2).
        if self.pop3_settings().utf8 {
            out.extend_from_slice(b"UTF8\r\n");
        }
        let implementation = self.pop3_settings().implementation.as_ref();
        let implementation = implementation.map_or(Pop3Settings::IMPLEMENTATION, Text::as_str);
        // USER and SASL as before: "both / no" (RFC 2449, section 6.2; RFC 5034, section 3).
        if self.is_logged_in() {
            if !implementation.is_empty() {
                for part in ["IMPLEMENTATION ", implementation, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
        } else if self.offer.security == Security::Stls {
            out.extend_from_slice(b"STLS\r\n");
        }
        if self.offer.permits_plainly(Mechanism::User) {
            out.extend_from_slice(b"USER\r\n");
        }
        let mut names = Named::offered(&self.offer).peekable();
        if names.peek().is_some() {
            out.extend_from_slice(b"SASL");
            for name in names {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    /// LANG (RFC 6856, section 3), in either state.
    pub(super) fn lang(&mut self, range: &[u8], out: &mut Vec<u8>) {
        if range.is_empty() {
            self.ok(Phrase::Languages, &[], out);
            for language in Language::ALL {
                for part in [language.tag(), " ", language::own_name(language), "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            out.extend_from_slice(b".\r\n");
            return;
        }
        let preferred = (range == b"*").then_some(self.pop3_settings().language);
        match preferred.or_else(|| language::of_range(range)) {
            Some(language) => {
                self.language = language;
                let chosen = Phrase::LanguageChosen.text(language);
                for part in ["+OK ", language.tag(), " ", chosen, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            None => self.error(Phrase::NoSuchLanguage, out),
        }
    }
}

/// Writes a server's message: `+ ` and base64.
fn continuation(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(Base64::encode_string(message).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The name in credentials, for the log.
fn named_by(credentials: &Credentials) -> Option<UserName> {
    match credentials {
        Credentials::Password { user, .. }
        | Credentials::Apop { user, .. }
        | Credentials::CramMd5 { user, .. }
        | Credentials::Scram { user, .. } => Some(user.clone()),
        Credentials::Token { user, .. } | Credentials::Certificate { user, .. } => user.clone(),
    }
}
