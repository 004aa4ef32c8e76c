//! The AUTHORIZATION state (RFC 1939, section 4): USER and PASS, CAPA, QUIT.

use super::command::Command;
use super::{Action, End, Pop3, State, error, ok};
use crate::proxy::xclient;
use popward_proto::bounded::UserName;
use popward_proto::secret::Secret;

/// What has been said before a login.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Authorization {
    user: Named,
}

/// Who USER named.
#[derive(Debug, Default, PartialEq, Eq)]
enum Named {
    /// Nobody yet.
    #[default]
    Nobody,
    /// A name that no account can have.
    Impossible,
    /// A name.
    Possible(UserName),
}

impl Pop3 {
    pub(super) fn authorization(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Action {
        match command {
            Command::User(_) | Command::Pass(_) if !self.password_permitted => {
                error(out, "a password is taken over TLS only");
            }
            Command::User(name) => {
                let name = String::from_utf8(name.to_vec()).ok();
                let user = name
                    .and_then(|name| UserName::try_from(name).ok())
                    .map_or(Named::Impossible, Named::Possible);
                self.state = State::Authorization(Authorization { user });
                ok(out, format_args!("password?"));
            }
            Command::Pass(secret) => return self.pass(secret, out),
            Command::Xclient(_) if !self.forwards => {
                return self.bad_command("unknown command", out);
            }
            Command::Xclient(arguments) => match xclient::parse(arguments) {
                Some(forwarded) => {
                    // Whom USER named, it named for somebody else.
                    self.state = State::Authorization(Authorization::default());
                    return Action::Forwarded(forwarded);
                }
                None => return self.bad_command("bad arguments", out),
            },
            Command::Capa => self.capabilities(out),
            Command::Quit => {
                ok(out, format_args!("popward signing off"));
                return self.close(End::QuitBeforeLogin);
            }
            _ => return self.bad_command("not before a login", out),
        }
        Action::None
    }

    fn pass(&mut self, secret: &[u8], out: &mut Vec<u8>) -> Action {
        let State::Authorization(Authorization { user }) = &mut self.state else {
            return Action::None;
        };
        let user = match std::mem::take(user) {
            Named::Nobody => return self.bad_command("USER first", out),
            Named::Impossible => None,
            Named::Possible(user) => Some(user),
        };
        let secret = Secret::try_from(secret.to_vec())
            .ok()
            .filter(|secret| !secret.expose().is_empty());
        let valid = user.is_some() && secret.is_some();
        // What no account can have is asked for all the same, so that it takes as long (P9); `valid` bars the login.
        let stand_in = || UserName::try_from("_".to_owned()).ok();
        let (Some(user), Some(secret)) = (
            user.or_else(stand_in),
            secret.or_else(|| Secret::try_from(b"_".to_vec()).ok()),
        ) else {
            return self.no_session(out);
        };
        self.user = Some(user.clone());
        self.state = State::Checking { valid };
        Action::Check { user, secret }
    }

    /// CAPA (RFC 2449, section 5), in either state.
    pub(super) fn capabilities(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"+OK capabilities\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n");
        if self.is_logged_in() {
            out.extend_from_slice(b"IMPLEMENTATION popward\r\n");
        } else if self.password_permitted {
            out.extend_from_slice(b"USER\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}
