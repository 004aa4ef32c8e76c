//! SASL mechanisms (RFC 4422) without I/O. This module parses a client's messages and builds the
//! server's. It does not check credentials: auth does that.

mod scram;
#[cfg(test)]
mod tests;
mod token;

use crate::pop3::{Login, Offer};
use popward_proto::auth::{Credentials, Impossible};
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_front::Mechanism;
use popward_proto::secret::{PASSWORD_MAX, Secret};

pub(crate) use scram::Started;
pub(crate) use token::refusal;

/// A mechanism with the name that clients use. SCRAM's names say whether the channel is bound (RFC
/// 5802, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The mechanism.
    pub(crate) mechanism: Mechanism,
    /// Whether its name ends with `-PLUS`.
    pub(crate) plus: bool,
}

/// All names, the strongest first. Some clients take the first name that they know.
const NAMES: [(&str, Mechanism, bool); 10] = [
    ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256, true),
    ("SCRAM-SHA-256", Mechanism::ScramSha256, false),
    ("SCRAM-SHA-1-PLUS", Mechanism::ScramSha1, true),
    ("SCRAM-SHA-1", Mechanism::ScramSha1, false),
    ("EXTERNAL", Mechanism::External, false),
    ("OAUTHBEARER", Mechanism::Oauthbearer, false),
    ("XOAUTH2", Mechanism::Xoauth2, false),
    ("PLAIN", Mechanism::Plain, false),
    ("LOGIN", Mechanism::Login, false),
    ("CRAM-MD5", Mechanism::CramMd5, false),
];

impl Named {
    /// Finds the mechanism with this name, in upper or lower case.
    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, mechanism, plus)| Self {
                mechanism: *mechanism,
                plus: *plus,
            })
    }

    /// The mechanism's name, for CAPA and the log.
    pub(crate) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, mechanism, plus)| (*mechanism, *plus) == (self.mechanism, self.plus))
            .map_or("?", |(name, ..)| name)
    }

    /// The names that `offer` permits now.
    pub(crate) fn offered(offer: &Offer) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .filter(|(_, mechanism, plus)| {
                let (mechanism, plus) = (*mechanism, *plus);
                offer.permits(Self { mechanism, plus })
            })
            .map(|(name, ..)| *name)
    }
}

/// An exchange that waits for the client's next message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// PLAIN (RFC 4616): the message holds the authorization identity, the name and the password.
    Plain,
    /// LOGIN (draft-murchison-sasl-login): the message is the name.
    LoginName,
    /// LOGIN: the message is the password for this name. `None`: no account can have the name.
    LoginPassword(Option<UserName>),
    /// CRAM-MD5 (RFC 2195): the message holds the name and a digest over this challenge.
    CramMd5(Text<128>),
    /// SCRAM (RFC 5802): the message is `client-first-message`.
    Scram(scram::Kind),
    /// SCRAM: the message is `client-final-message`, with the proof.
    ScramProof(scram::Challenged),
    /// SCRAM: the message is empty. The client has seen the server's signature.
    ScramEnd,
    /// OAUTHBEARER (RFC 7628) or XOAUTH2: the message holds the token.
    Token(Named),
    /// OAUTHBEARER or XOAUTH2: any message. The client has seen why its token was refused.
    TokenRefused,
    /// EXTERNAL (RFC 4422, appendix A): the message is the name, or empty.
    External,
}

/// The result of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The server's next message, and the exchange that then waits for the client.
    Challenge(Vec<u8>, Exchange),
    /// Auth is asked.
    Login {
        /// The message to auth.
        login: Login,
        /// Why no account can match this login. `None`: an account can match. With a reason,
        /// `login` holds a stand-in, so that the refusal takes as long as any other, and a grant of
        /// the stand-in is ignored (promise P9).
        impossible: Option<Impossible>,
        /// The answer of auth that may follow.
        then: Then,
    },
    /// The client has seen why its token was refused. The login is refused.
    Refused,
    /// The message does not follow the mechanism's rules.
    Malformed,
}

impl Heard {
    /// Marks this login as impossible, because the client asks to act as another user.
    fn refused_as_another(mut self) -> Self {
        if let Self::Login { impossible, .. } = &mut self {
            impossible.get_or_insert(Impossible::Identity);
        }
        self
    }
}

/// The answer that is expected of auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// Auth grants the login.
    Grant,
    /// Auth grants the login. If auth refuses it, the mechanism's explanation goes to the client
    /// before the refusal.
    TokenGrant(Named),
    /// Auth sends SCRAM's challenge.
    ScramChallenge(Started),
    /// Auth sends SCRAM's signature.
    ScramSignature,
}

impl Exchange {
    /// Begins an exchange. Returns the server's first message, which is empty for most mechanisms,
    /// and the exchange that then waits for the client. `challenge` is new in each exchange.
    pub(crate) fn begin(named: Named, offer: &Offer, challenge: Text<128>) -> (Vec<u8>, Self) {
        use Mechanism as M;
        let nothing = Vec::new();
        match named.mechanism {
            // Not reached for USER and APOP: they are commands, and AUTH has no name for them.
            M::Plain | M::User | M::Apop => (nothing, Self::Plain),
            M::Login => (b"Username:".to_vec(), Self::LoginName),
            M::CramMd5 => (challenge.as_str().into(), Self::CramMd5(challenge)),
            M::ScramSha1 | M::ScramSha256 => (nothing, Self::Scram(scram::Kind::new(named, offer))),
            M::Oauthbearer | M::Xoauth2 => (nothing, Self::Token(named)),
            M::External => (nothing, Self::External),
        }
    }

    /// Whether a client may send its first message together with its command (RFC 5034, section 4).
    pub(crate) fn is_client_first(&self) -> bool {
        // LOGIN counts as client-first, because clients send the name with the command.
        !matches!(self, Self::CramMd5(_))
    }

    /// Whether auth keeps something for this exchange.
    pub(crate) fn is_known_to_auth(&self) -> bool {
        matches!(self, Self::ScramProof(_) | Self::ScramEnd)
    }

    /// Takes the client's next message, after base64 was decoded.
    pub(crate) fn hear(self, message: &[u8]) -> Heard {
        match self {
            Self::Plain => plain(message),
            Self::LoginName => {
                let user = user_name(message);
                Heard::Challenge(b"Password:".to_vec(), Self::LoginPassword(user))
            }
            Self::LoginPassword(user) => password(user, message),
            Self::CramMd5(challenge) => cram_md5(challenge, message),
            Self::Scram(kind) => kind.first(message),
            Self::ScramProof(challenged) => challenged.proof(message),
            Self::ScramEnd if message.is_empty() => Heard::Login {
                login: Login::Proceed,
                impossible: None,
                then: Then::Grant,
            },
            Self::ScramEnd => Heard::Malformed,
            Self::Token(named) => token::token(named, message),
            Self::TokenRefused => Heard::Refused,
            Self::External => external(message),
        }
    }
}

/// Parses a user name. `None`: no account can have it.
pub(crate) fn user_name(bytes: &[u8]) -> Option<UserName> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    UserName::try_from(name).ok()
}

/// The name that auth is asked about. If no account can have the client's name, it is a stand-in,
/// with the reason.
fn stand_in(user: Option<UserName>) -> (Option<UserName>, Option<Impossible>) {
    let impossible = user.is_none().then_some(Impossible::Name);
    let user = user.or_else(|| UserName::try_from("_".to_owned()).ok());
    (user, impossible)
}

/// The password that auth is asked about. If no account can have the client's password, it is a
/// stand-in, with the reason.
fn stand_in_password(secret: &[u8]) -> (Option<Secret>, Option<Impossible>) {
    let impossible = if secret.is_empty() {
        Some(Impossible::Empty)
    } else if secret.len() > PASSWORD_MAX {
        Some(Impossible::TooLong)
    } else if secret.contains(&0) {
        Some(Impossible::Nul)
    } else {
        None
    };
    let secret = if impossible.is_some() { b"_" } else { secret };
    (Secret::try_from(secret.to_vec()).ok(), impossible)
}

/// A login with name and password. Auth is asked about a stand-in if the name or the password is
/// impossible. Without that question the refusal would be faster and would show that no account has
/// the name.
pub(crate) fn password(user: Option<UserName>, secret: &[u8]) -> Heard {
    let (user, impossible_name) = stand_in(user);
    let (secret, impossible_secret) = stand_in_password(secret);
    match (user, secret) {
        (Some(user), Some(secret)) => Heard::Login {
            login: Login::Check(Credentials::Password { user, secret }),
            impossible: impossible_name.or(impossible_secret),
            then: Then::Grant,
        },
        _ => Heard::Malformed,
    }
}

/// Parses PLAIN's message: `[authorization identity] NUL name NUL password`. A client that asks to
/// act as another user is refused.
fn plain(message: &[u8]) -> Heard {
    let mut parts = message.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(identity), Some(name), Some(secret), None) => {
            let heard = password(user_name(name), secret);
            if identity.is_empty() || identity == name {
                heard
            } else {
                heard.refused_as_another()
            }
        }
        _ => Heard::Malformed,
    }
}

/// Parses CRAM-MD5's message: `name SP digest`.
fn cram_md5(challenge: Text<128>, message: &[u8]) -> Heard {
    let Some(space) = memchr::memrchr(b' ', message) else {
        return Heard::Malformed;
    };
    let (user, impossible) = stand_in(user_name(&message[..space]));
    match (user, digest(&message[space + 1..])) {
        (Some(user), Some(digest)) => Heard::Login {
            login: Login::Check(Credentials::CramMd5 {
                user,
                challenge,
                digest,
            }),
            impossible,
            then: Then::Grant,
        },
        _ => Heard::Malformed,
    }
}

/// A login with APOP's name and digest (RFC 1939, section 7) over this greeting's timestamp.
pub(crate) fn apop(name: &[u8], digest: [u8; 16], timestamp: Text<128>) -> Heard {
    let (user, impossible) = stand_in(user_name(name));
    match user {
        Some(user) => Heard::Login {
            login: Login::Check(Credentials::Apop {
                user,
                timestamp,
                digest,
            }),
            impossible,
            then: Then::Grant,
        },
        None => Heard::Malformed,
    }
}

/// Parses a digest of 32 hexadecimal digits.
pub(crate) fn digest(text: &[u8]) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if text.len() != 32 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Parses EXTERNAL's message. It is the name that the client asks for. If it is empty, the
/// certificate gives the name.
fn external(message: &[u8]) -> Heard {
    let (user, impossible) = if message.is_empty() {
        (None, None)
    } else {
        stand_in(user_name(message))
    };
    Heard::Login {
        login: Login::Certificate(user),
        impossible,
        then: Then::Grant,
    }
}
