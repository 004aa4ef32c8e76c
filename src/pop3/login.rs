//! A login under way: the AUTH exchange (RFC 5034), and what auth says about a login.

use super::action::{Action, End};
use super::connection::Pop3;
use super::language::Phrase;
use super::state::{BeforeLogin, Check, Method, State};
use crate::sasl::{self, Attempt, Exchange, ExpectedOfAuth, Heard, Login, NamedMechanism};
use base64ct::{Base64, Encoding};
use popward_proto::auth::{AuthRefusal, Credentials};
use popward_proto::bounded::{Bytes, UserName};
use zeroize::Zeroizing;

impl Pop3 {
    /// Answers AUTH without an argument: lists the mechanisms, one a line. Some clients ask in this
    /// way.
    pub(super) fn mechanisms(&self, out: &mut Vec<u8>) {
        self.ok(Phrase::Mechanisms, &[], out);
        for name in self.offer.names() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    pub(super) fn auth(
        &mut self,
        name: &[u8],
        response: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Action {
        let Some(named) = NamedMechanism::find(name).filter(|named| self.offer.permits(*named))
        else {
            return self.bad_command(Phrase::NoSuchMechanism, out);
        };
        self.method = Method::Sasl(named);
        self.challenges = self.challenges.saturating_add(1);
        let challenge = self.challenge(self.challenges);
        let (first, exchange) = Exchange::begin(named, self.offer.binding, challenge);
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
    pub(super) fn heard(&mut self, heard: Heard, out: &mut Vec<u8>) -> Action {
        match heard {
            Heard::Challenge(message, exchange) => {
                continuation(&message, out);
                self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(exchange)));
                Action::None
            }
            Heard::Login(Attempt { login, impossible }, expected) => {
                if let Login::Check(credentials) = &login {
                    self.user = named_by(credentials);
                }
                self.state = State::BeforeLogin(BeforeLogin::Checking(Box::new(Check {
                    impossible,
                    expected,
                })));
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
        if let (AuthRefusal::Credentials, ExpectedOfAuth::TokenGrant(named)) =
            (why, &check.expected)
        {
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
            return self.close(End::FailedLogins);
        }
        Action::None
    }

    /// Takes auth's challenge (SCRAM's `server-first-message`) and sends it to the client. If no
    /// login is checked now, the message is late and is ignored. If another answer is due, auth
    /// broke the rules, and the session ends.
    pub fn auth_challenge(&mut self, first: &str, out: &mut Vec<u8>) -> Action {
        let State::BeforeLogin(BeforeLogin::Checking(check)) = &self.state else {
            return Action::None;
        };
        let ExpectedOfAuth::ScramChallenge(started) = &check.expected else {
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
        if check.expected != ExpectedOfAuth::ScramSignature || check.impossible.is_some() {
            return self.no_session(out);
        }
        let last = format!("v={}", Base64::encode_string(signature.as_slice()));
        continuation(last.as_bytes(), out);
        self.state = State::BeforeLogin(BeforeLogin::Sasl(Box::new(Exchange::ScramEnd)));
        Action::None
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
