//! A client's attempt to log in: the message to auth, and a stand-in for credentials that no
//! account can have.

use popward_proto::auth::{Credentials, Impossible, ScramProof};
use popward_proto::bounded::UserName;
use popward_proto::secret::{PASSWORD_MAX, Secret};

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

/// An attempt to log in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The message to auth.
    pub(crate) login: Login,
    /// Why no account can match this login. `None`: an account can match. With a reason, `login`
    /// holds a stand-in, so that the refusal takes as long as any other, and a grant of the
    /// stand-in is ignored (promise P9).
    pub(crate) impossible: Option<Impossible>,
}

impl Attempt {
    /// Asks auth to check these credentials.
    pub(super) fn check(credentials: Credentials, impossible: Option<Impossible>) -> Self {
        let login = Login::Check(credentials);
        Self { login, impossible }
    }

    /// Marks this login as impossible, because the client asks to act as another user.
    pub(super) fn acting_as_another(mut self) -> Self {
        self.impossible.get_or_insert(Impossible::Identity);
        self
    }
}

/// Parses a user name. `None`: no account can have it.
pub(crate) fn user_name(bytes: &[u8]) -> Option<UserName> {
    let name = String::from_utf8(bytes.to_vec()).ok()?;
    UserName::try_from(name).ok()
}

/// The name that auth is asked about. If no account can have the client's name, it is a stand-in,
/// with the reason.
pub(super) fn stand_in(user: Option<UserName>) -> (Option<UserName>, Option<Impossible>) {
    let impossible = user.is_none().then_some(Impossible::Name);
    let user = user.or_else(|| UserName::try_from("_".to_owned()).ok());
    (user, impossible)
}

/// The password that auth is asked about. If no account can have the client's password, it is a
/// stand-in, with the reason.
pub(super) fn stand_in_password(secret: &[u8]) -> (Option<Secret>, Option<Impossible>) {
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
