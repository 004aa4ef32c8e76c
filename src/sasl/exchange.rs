//! An AUTH exchange (RFC 5034): which message is due from the client, and what follows from it.

use super::attempt::{Attempt, Login, user_name};
use super::external::external;
use super::mechanism::NamedMechanism;
use super::password::{cram_md5, password, plain};
use super::scram::{Challenged, Rules, Started};
use super::token::token;
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_front::Mechanism;

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
    Scram(Rules),
    /// SCRAM: the message is `client-final-message`, with the proof.
    ScramProof(Challenged),
    /// SCRAM: the message is empty. The client has seen the server's signature.
    ScramEnd,
    /// OAUTHBEARER (RFC 7628) or XOAUTH2: the message holds the token.
    Token(NamedMechanism),
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
    /// What auth is asked, and which answer is expected.
    Login(Attempt, ExpectedOfAuth),
    /// The client has seen why its token was refused. The login is refused.
    Refused,
    /// The message does not follow the mechanism's rules.
    Malformed,
}

impl Heard {
    /// A login that auth grants or refuses, without further messages.
    pub(crate) fn grant(attempt: Option<Attempt>) -> Self {
        Self::login(attempt, ExpectedOfAuth::Grant)
    }

    fn login(attempt: Option<Attempt>, expected: ExpectedOfAuth) -> Self {
        attempt.map_or(Self::Malformed, |attempt| Self::Login(attempt, expected))
    }
}

/// The answer that is expected of auth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExpectedOfAuth {
    /// Auth grants the login.
    Grant,
    /// Auth grants the login. If auth refuses it, the mechanism's explanation goes to the client
    /// before the refusal.
    TokenGrant(NamedMechanism),
    /// Auth sends SCRAM's challenge.
    ScramChallenge(Started),
    /// Auth sends SCRAM's signature.
    ScramSignature,
}

impl Exchange {
    /// Begins an exchange. Returns the server's first message, which is empty for most mechanisms,
    /// and the exchange that then waits for the client. `binding`: the connection's `tls-exporter`.
    /// `challenge` is new in each exchange.
    pub(crate) fn begin(
        named: NamedMechanism,
        binding: Option<[u8; 32]>,
        challenge: Text<128>,
    ) -> (Vec<u8>, Self) {
        use Mechanism as M;
        let nothing = Vec::new();
        match named.mechanism {
            // Not reached for USER and APOP: they are commands, and AUTH has no name for them.
            M::Plain | M::User | M::Apop => (nothing, Self::Plain),
            M::Login => (b"Username:".to_vec(), Self::LoginName),
            M::CramMd5 => (challenge.as_str().into(), Self::CramMd5(challenge)),
            M::ScramSha1 | M::ScramSha256 => (nothing, Self::Scram(Rules::new(named, binding))),
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
            Self::Plain => Heard::grant(plain(message)),
            Self::LoginName => {
                let user = user_name(message);
                Heard::Challenge(b"Password:".to_vec(), Self::LoginPassword(user))
            }
            Self::LoginPassword(user) => Heard::grant(password(user, message)),
            Self::CramMd5(challenge) => Heard::grant(cram_md5(challenge, message)),
            Self::Scram(rules) => match rules.first(message) {
                Some((attempt, started)) => {
                    Heard::Login(attempt, ExpectedOfAuth::ScramChallenge(started))
                }
                None => Heard::Malformed,
            },
            Self::ScramProof(challenged) => {
                Heard::login(challenged.proof(message), ExpectedOfAuth::ScramSignature)
            }
            Self::ScramEnd if message.is_empty() => Heard::grant(Some(Attempt {
                login: Login::Proceed,
                impossible: None,
            })),
            Self::ScramEnd => Heard::Malformed,
            Self::Token(named) => {
                Heard::login(token(named, message), ExpectedOfAuth::TokenGrant(named))
            }
            Self::TokenRefused => Heard::Refused,
            Self::External => Heard::grant(Some(external(message))),
        }
    }
}
