//! The AUTHORIZATION state (RFC 1939, section 4): the greeting, USER and PASS, APOP, STLS (RFC
//! 2595), XCLIENT, UTF8 (RFC 6856), QUIT. AUTH is in `login`.

use super::action::{Action, End};
use super::command::Command;
use super::connection::{Pop3, ok};
use super::language::Phrase;
use super::offer::{Offer, Security};
use super::state::{BeforeLogin, Method, NamedUser, State};
use crate::proxy::xclient;
use crate::sasl::{self, Heard};
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{Language, Mechanism, Pop3Settings};

impl Pop3 {
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
                return self.close(End::QuitBeforeLogin);
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

    /// Continues after [`Action::Forwarded`]: the limits admit the proxy's client. `offer` is what
    /// that client may use.
    pub fn forwarded(&mut self, offer: Offer, out: &mut Vec<u8>) {
        self.forwards = false;
        // This also forgets a USER that came before XCLIENT, because it was not for this client.
        self.secured(offer);
        ok(out, format_args!("client noted"));
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
        self.heard(Heard::grant(sasl::password(user, secret)), out)
    }

    fn apop(&mut self, name: &[u8], digest: [u8; 16], out: &mut Vec<u8>) -> Action {
        let Some(timestamp) = self.timestamp() else {
            return self.bad_command(Phrase::NoApop, out);
        };
        self.method = Method::Apop;
        self.heard(Heard::grant(sasl::apop(name, digest, timestamp)), out)
    }

    /// Answers the client when `limits.login` has passed, and ends the connection.
    pub fn login_time_over(&mut self, out: &mut Vec<u8>) {
        self.error(Phrase::LoginTime, out);
        self.state.close();
    }
}
