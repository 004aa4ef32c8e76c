//! SASL mechanisms (RFC 4422) without I/O, as far as they are the front's: what a client's messages mean. Whether what it
//! shows is right, auth says; this takes apart and puts together.

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

/// A mechanism as clients name it: SCRAM's names say whether the channel is bound (RFC 5802, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which.
    pub(crate) mechanism: Mechanism,
    /// Whether its name ends with `-PLUS`.
    pub(crate) plus: bool,
}

/// All names, the strongest first: clients that choose by order take the first one that they know.
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
    /// The mechanism of that name, in either case.
    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, mechanism, plus)| Self {
                mechanism: *mechanism,
                plus: *plus,
            })
    }

    /// Its name.
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
    /// PLAIN (RFC 4616): authorization identity, name and password.
    Plain,
    /// LOGIN (draft-murchison-sasl-login): the name.
    LoginName,
    /// LOGIN: the password of this name.
    LoginPassword(Option<UserName>),
    /// CRAM-MD5 (RFC 2195): name and digest over this challenge.
    CramMd5(Text<128>),
    /// SCRAM (RFC 5802): the client's first message.
    Scram(scram::Kind),
    /// SCRAM: the client's proof.
    ScramProof(scram::Challenged),
    /// SCRAM: that the client has seen the server's signature.
    ScramEnd,
    /// OAUTHBEARER (RFC 7628) or XOAUTH2: the token.
    Token(Named),
    /// That the client has seen why its token was refused.
    TokenRefused,
    /// EXTERNAL (RFC 4422, appendix A): the name, or nothing.
    External,
}

/// What a client's message came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The server's next message, and what is waited for then.
    Challenge(Vec<u8>, Exchange),
    /// Something for auth.
    Login {
        /// What auth is asked.
        login: Login,
        /// Why nobody can be who the client says, if so. `login` then has a stand-in, and whatever is granted is not given (P9).
        impossible: Option<Impossible>,
        /// What follows.
        then: Then,
    },
    /// The client has seen why it was refused.
    Refused,
    /// It is no message of this mechanism.
    Malformed,
}

impl Heard {
    /// The same, of a client that asks to act as another user: it is refused.
    fn refused_as_another(mut self) -> Self {
        if let Self::Login { impossible, .. } = &mut self {
            impossible.get_or_insert(Impossible::Identity);
        }
        self
    }
}

/// What follows auth's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// A grant.
    Grant,
    /// A grant, or an explanation in the mechanism's own words and then a refusal.
    TokenGrant(Named),
    /// SCRAM's challenge.
    ScramChallenge(Started),
    /// SCRAM's signature.
    ScramSignature,
}

impl Exchange {
    /// The server's first message (empty with most mechanisms) and what is waited for then. `challenge` is new with each.
    pub(crate) fn begin(named: Named, offer: &Offer, challenge: Text<128>) -> (Vec<u8>, Self) {
        use Mechanism as M;
        let nothing = Vec::new();
        match named.mechanism {
            // USER and APOP are commands, and no name leads here.
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
        // LOGIN's first message is the name, and clients do send it at once.
        !matches!(self, Self::CramMd5(_))
    }

    /// Whether auth keeps something for this exchange.
    pub(crate) fn is_known_to_auth(&self) -> bool {
        matches!(self, Self::ScramProof(_) | Self::ScramEnd)
    }

    /// Takes the client's message, decoded.
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

/// The name, if any account can have it.
pub(crate) fn user_name(bytes: &[u8]) -> Option<UserName> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    UserName::try_from(name).ok()
}

/// A name for auth: a stand-in where no account can have the client's.
fn stand_in(user: Option<UserName>) -> (Option<UserName>, Option<Impossible>) {
    let impossible = user.is_none().then_some(Impossible::Name);
    let user = user.or_else(|| UserName::try_from("_".to_owned()).ok());
    (user, impossible)
}

/// A password for auth: a stand-in where none can be the client's.
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

/// A name and a password. Auth is asked about a stand-in for what nobody can have.
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

/// `[authorization identity] NUL name NUL password`. Nobody logs in as somebody else.
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

/// `name SP digest`.
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

/// APOP's name and digest (RFC 1939, section 7), over this greeting's timestamp.
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

/// 32 hexadecimal digits.
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

/// The name that is asked for, or nothing: then the certificate names it.
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
