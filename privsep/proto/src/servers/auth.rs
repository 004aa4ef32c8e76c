//! front ↔ auth: the check of credentials. The front has parsed the client's bytes. Auth gets typed
//! values.

use crate::account::SessionId;
use crate::bounded::{Bytes, List, Text, UserName};
use crate::permit::{Message, Permit, any, once};
use crate::secret::{PASSWORD_MAX, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Messages from a front to auth. Each session has at most one login at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToAuth {
    /// A login begins. Most mechanisms need no further message.
    Check {
        /// The session. Answers and grants name it.
        session: SessionId,
        /// The client's credentials.
        credentials: Credentials,
        /// Why no account can match, or `None`. If set, the name or password in `credentials` is a
        /// stand-in for what the client sent.
        impossible: Option<Impossible>,
        /// The client.
        client: Client,
    },
    /// The answer to [`AuthToFront::Challenge`].
    Prove {
        /// The session.
        session: SessionId,
        /// The client's proof that it knows the secret.
        proof: ScramProof,
    },
    /// The client has accepted [`AuthToFront::Signature`]. Auth grants now.
    Proceed(SessionId),
    /// The client has gone, or has given the login up.
    Cancel(SessionId),
    /// The last login has begun. New ones go to another auth. Those that have begun go on over this
    /// channel.
    Last,
}

/// The client of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address: for PAM, for auth's log and for the count of failures.
    pub peer: IpAddr,
    /// Whether the connection uses TLS.
    pub tls: bool,
}

/// Why no account can match a client's credentials.
///
/// Auth checks a stand-in, so that text and time of the answer are those for a wrong password
/// (promise P9). It refuses the login whatever the check finds. The log has the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Impossible {
    /// No account can have this name.
    Name,
    /// The client asks to act as another user.
    Identity,
    /// The password is empty.
    Empty,
    /// The password is longer than [`PASSWORD_MAX`].
    TooLong,
    /// The password has a NUL in it.
    Nul,
}

impl std::fmt::Display for Impossible {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name => out.write_str("no account can have this name"),
            Self::Identity => out.write_str("asks to act as another user"),
            Self::Empty => out.write_str("the password is empty"),
            Self::TooLong => write!(out, "the password is longer than {PASSWORD_MAX} octets"),
            Self::Nul => out.write_str("the password has a NUL in it"),
        }
    }
}

/// Longest bearer token, in bytes. RFC 6750 sets no bound. The tokens of large providers have 1 to
/// 4 KiB.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Most certificates in a client's chain.
pub const CHAIN_MAX: usize = 4;

/// Longest certificate in a client's chain, in bytes.
pub const CERTIFICATE_MAX: usize = 3 * 1024;

/// Longest SCRAM message, in bytes. The server's first message may be longer.
pub const SCRAM_MAX: usize = 1024;

/// A client's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// A name and a password: USER and PASS (RFC 1939, section 7), AUTH PLAIN (RFC 4616), AUTH
    /// LOGIN.
    Password {
        /// The name, as the client sent it.
        user: UserName,
        /// The password.
        secret: Secret,
    },
    /// APOP (RFC 1939, section 7): the MD5 of the greeting's timestamp and the password.
    Apop {
        /// The name.
        user: UserName,
        /// The timestamp of this session's greeting, with its angle brackets.
        timestamp: Text<128>,
        /// The digest.
        digest: [u8; 16],
    },
    /// AUTH CRAM-MD5 (RFC 2195): the HMAC-MD5 of the challenge, keyed with the password.
    CramMd5 {
        /// The name.
        user: UserName,
        /// The challenge of this session.
        challenge: Text<128>,
        /// The digest.
        digest: [u8; 16],
    },
    /// The first step of AUTH SCRAM-* (RFC 5802, section 5). The front has checked the GS2 header.
    Scram {
        /// The hash function.
        hash: ScramHash,
        /// The name, with `=2C` and `=3D` decoded.
        user: UserName,
        /// `client-first-message-bare`.
        first_bare: Text<SCRAM_MAX>,
        /// The client's nonce in it.
        nonce: Text<256>,
    },
    /// AUTH OAUTHBEARER (RFC 7628) and XOAUTH2.
    Token {
        /// The name, if the client gave one.
        user: Option<UserName>,
        /// The bearer token.
        token: Secret<TOKEN_MAX>,
    },
    /// AUTH EXTERNAL (RFC 4422, appendix A): the client's certificate. Auth verifies the client's
    /// signature and the chain itself, because a front that is taken over could claim any
    /// certificate.
    Certificate {
        /// The user that the client asks for, if it names one.
        user: Option<UserName>,
        /// The chain in DER. The client's own certificate comes first.
        chain: List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>,
        /// The message that TLS 1.3's `CertificateVerify` signs (RFC 8446, section 4.4.3).
        signed: Bytes<256>,
        /// The signature scheme: a TLS code point.
        scheme: u16,
        /// The signature.
        signature: Bytes<1024>,
    },
}

/// SCRAM's hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScramHash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
}

/// The parts of SCRAM's `client-final-message`. The front has checked its channel binding and its
/// nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramProof {
    /// `client-final-message-without-proof`.
    pub without_proof: Text<SCRAM_MAX>,
    /// `ClientProof`. It is as long as the hash.
    pub proof: Bytes<32>,
}

/// Messages from auth to a front. A grant goes to the monitor, not to the front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToFront {
    /// The login failed.
    Refused {
        /// The session that asked.
        session: SessionId,
        /// The reason, as far as a client may know it.
        why: AuthRefusal,
    },
    /// The answer to [`Credentials::Scram`]: `server-first-message`. Users who do not exist get one
    /// too.
    Challenge {
        /// The session that asked.
        session: SessionId,
        /// The message, with nonce, salt and iterations.
        first: Text<1024>,
    },
    /// The answer to [`FrontToAuth::Prove`]: the proof is right. This is `ServerSignature`.
    Signature {
        /// The session that asked.
        session: SessionId,
        /// The signature. It is as long as the hash.
        signature: Bytes<32>,
    },
}

/// Why a login was refused. There is no value for an unknown user and none for a locked one,
/// because a front must not know the difference (promise P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthRefusal {
    /// Unknown user, wrong password, or an account that may not log in.
    Credentials,
    /// The credentials are right, but the account's login delay is not over: `[LOGIN-DELAY]` (RFC
    /// 2449, section 8.1.1).
    TooSoon,
    /// The check itself failed: `[SYS/TEMP]` (RFC 3206).
    Temporary,
}

/// The phases of this channel. Many sessions share the channel, so auth and the front keep the
/// steps of each session's login themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPhase {
    /// Logins are checked.
    Serving,
    /// After [`FrontToAuth::Last`]: only logins that have begun go on.
    Leaving,
}

impl Message for FrontToAuth {
    const LIMIT: usize = 14 * 1024;
    type Phase = AuthPhase;
    fn permit(&self) -> Permit<AuthPhase> {
        use AuthPhase::{Leaving, Serving};
        match self {
            Self::Check { .. } => any("Check", &[Serving]),
            Self::Prove { .. } => any("Prove", &[Serving, Leaving]),
            Self::Proceed(_) => any("Proceed", &[Serving, Leaving]),
            Self::Cancel(_) => any("Cancel", &[Serving, Leaving]),
            Self::Last => once("Last", &[Serving]),
        }
    }
}

impl Message for AuthToFront {
    const LIMIT: usize = 1100;
    type Phase = AuthPhase;
    fn permit(&self) -> Permit<AuthPhase> {
        use AuthPhase::Serving;
        match self {
            Self::Refused { .. } => any("Refused", &[Serving]),
            Self::Challenge { .. } => any("Challenge", &[Serving]),
            Self::Signature { .. } => any("Signature", &[Serving]),
        }
    }
}
