//! The AUTHORIZATION state (RFC 1939, section 4): USER and PASS, APOP, AUTH (RFC 5034), STLS (RFC
//! 2595), UTF8 and LANG (RFC 6856), CAPA, QUIT.

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

/// The security features that a connection may use now. The set changes after STLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether TLS is active or possible.
    pub security: Security,
    /// Whether the client may send a password in clear. True over TLS, and without TLS where the
    /// configuration permits plain text.
    pub passwords: bool,
    /// The mechanisms that the configuration permits.
    pub mechanisms: Mechanisms,
    /// Whether the client showed a certificate in the TLS handshake and signed with its key.
    pub certificate: bool,
    /// The channel binding `tls-exporter` of this connection (RFC 9266). `None`: there is no TLS
    /// 1.3.
    pub binding: Option<[u8; 32]>,
}

/// Whether TLS is active or possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS is active, up to this process or up to a proxy that is believed.
    Tls,
    /// TLS is not active. The client may start it with STLS.
    Stls,
    /// TLS is not possible: the front has no certificate.
    Never,
}

/// A set of login mechanisms: one bit for each.
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
    /// Whether the client may use this mechanism now.
    pub(crate) fn permits(&self, named: Named) -> bool {
        use Mechanism as M;
        let possible = match named.mechanism {
            // Whoever reads a token on the wire can log in with it, as with a password (RFC 7628,
            // section 5).
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

/// How the client logged in, for the log.
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

    /// Sets what the client may use. The caller calls this before the greeting, and again when TLS
    /// has begun after STLS. The second call forgets the user name and the language that came
    /// before TLS, because an attacker could have sent them (RFC 2595, section 4).
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

    /// The timestamp of this connection's greeting (RFC 1939, section 7, APOP). `None`: APOP is not
    /// offered.
    pub(super) fn timestamp(&self) -> Option<Text<128>> {
        let offered = self.offer.permits_plainly(Mechanism::Apop);
        offered.then(|| self.challenge(0))
    }

    /// Makes a challenge in the form of RFC 1939's example: two decimal numbers and the host, as a
    /// message id. The numbers are decimal because Perl's `Mail::Transport::POP3` looks for decimal
    /// digits. Each connection and each `count` get a different text.
    fn challenge(&self, count: u32) -> Text<128> {
        let [first, second] = self.identity.unique;
        // `second` is padded to a fixed width. Otherwise two different pairs of `second` and
        // `count` could give the same text.
        let host = &self.identity.host;
        Text::truncated(&format!("<{first}.{second:020}{count}@{host}>"))
    }

    /// Answers AUTH without an argument: lists the mechanisms, one a line. Some clients ask in this
    /// way.
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
            // `=` stands for an empty initial response (RFC 5034, section 4).
            Some(b"=") => self.hear_message(exchange, b"", out),
            Some(response) => self.encoded(exchange, response, out),
        }
    }

    /// Takes a line of an AUTH exchange: the client's next message, in base64.
    pub(super) fn sasl_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(state) = &mut self.state else {
            return Action::None;
        };
        let BeforeLogin::Sasl(exchange) = std::mem::replace(state, BeforeLogin::FRESH) else {
            return Action::None;
        };
        if *exchange == Exchange::TokenRefused {
            // The client's answer to the explanation changes nothing (RFC 7628, section 3.2.3; a
            // client may also send `*`). The login is refused.
            return self.heard(exchange.hear(b""), out);
        }
        if line == b"*" {
            let known = exchange.is_known_to_auth();
            return self.give_up(known, Phrase::Cancelled, out);
        }
        match line.trim_ascii() {
            // RFC 5034 permits an equals sign for an empty initial response only. Some clients send
            // it here too. It is not ambiguous, because `=` alone is never base64.
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

    /// Takes a message of an AUTH exchange, after base64 was decoded.
    fn hear_message(&mut self, exchange: Exchange, message: &[u8], out: &mut Vec<u8>) -> Action {
        let known = exchange.is_known_to_auth();
        match exchange.hear(message) {
            // The base64 was right, but the message does not belong to this exchange. Examples:
            // another channel binding, another nonce.
            Heard::Malformed => self.give_up(known, Phrase::NotOfTheMechanism, out),
            heard => self.heard(heard, out),
        }
    }

    /// Ends an AUTH exchange without a result and answers with `-ERR`. `known`: auth keeps state
    /// for this exchange, so auth is told.
    pub(super) fn give_up(&mut self, known: bool, why: Phrase, out: &mut Vec<u8>) -> Action {
        self.state = State::BeforeLogin(BeforeLogin::FRESH);
        match self.bad_command(why, out) {
            Action::None if known => Action::Login(Login::Cancel),
            action => action,
        }
    }

    /// Acts on the meaning of a client's message.
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

    /// Takes auth's refusal of a login. After a refused token the mechanism's explanation goes to
    /// the client first.
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

    /// Answers the client when `limits.login` has passed, and ends the connection.
    pub fn login_time_over(&mut self, out: &mut Vec<u8>) {
        self.error(Phrase::LoginTime, out);
        self.state.close();
    }

    /// Takes auth's challenge (SCRAM's `server-first-message`) and sends it to the client. If no
    /// login is checked now, the message is late and is ignored. If another answer is due, auth
    /// broke the rules, and the session ends.
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
        // Auth keeps the exchange until the front cancels it. A session may have only one login
        // under way, so the next login would fail otherwise.
        match self.refused(AuthRefusal::Temporary, out) {
            Action::None => Action::Login(Login::Cancel),
            action => action,
        }
    }

    /// Takes auth's signature: the client's proof was right (SCRAM's `server-final-message`). The
    /// front sends it as a challenge, and the client answers with an empty line (RFC 5034, section
    /// 4).
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

    /// Answers CAPA (RFC 2449, section 5), before and after a login.
    pub(super) fn capabilities(&self, out: &mut Vec<u8>) {
        self.ok(Phrase::Capabilities, &[], out);
        out.extend_from_slice(
            b"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nLANG\r\n",
        );
        // Before a login: the longest delay of all accounts. The argument `USER` says that the
        // account's own delay may differ and is announced after the login (RFC 2449, section 6.5).
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
        // UTF8 stands without the argument USER, because names and passwords are taken as they are,
        // without string preparation (RFC 6856, section 2.2).
        if self.pop3_settings().utf8 {
            out.extend_from_slice(b"UTF8\r\n");
        }
        let implementation = self.pop3_settings().implementation.as_ref();
        let implementation = implementation.map_or(Pop3Settings::IMPLEMENTATION, Text::as_str);
        // CAPA shows USER and SASL after a login too. Their "announced states" are both (RFC 2449,
        // section 6.2; RFC 5034, section 3).
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

    /// Answers LANG (RFC 6856, section 3), before and after a login. Without a range it lists the
    /// languages.
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

/// Writes a server's message of AUTH: `+ ` and base64.
fn continuation(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(Base64::encode_string(message).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The user name in credentials, for the log.
fn named_by(credentials: &Credentials) -> Option<UserName> {
    match credentials {
        Credentials::Password { user, .. }
        | Credentials::Apop { user, .. }
        | Credentials::CramMd5 { user, .. }
        | Credentials::Scram { user, .. } => Some(user.clone()),
        Credentials::Token { user, .. } | Credentials::Certificate { user, .. } => user.clone(),
    }
}
