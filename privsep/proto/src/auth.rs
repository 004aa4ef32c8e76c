//! front ↔ auth: "check these". The front has parsed what the client sent; auth is told what it means.

use crate::account::SessionId;
use crate::bounded::{Bytes, List, Text, UserName};
use crate::permit::{Message, Permit, any};
use crate::secret::{PASSWORD_MAX, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a front asks of auth. At most one login of a session is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToAuth {
    /// A login begins, and with most mechanisms this is all of it.
    Check {
        /// The session that asks; answers and grants name it.
        session: SessionId,
        /// What was shown.
        credentials: Credentials,
        /// Why nobody can be who the client says, if so. A name or a password in `credentials` is then a stand-in.
        impossible: Option<Impossible>,
        /// By whom.
        client: Client,
    },
    /// The answer to [`AuthToFront::Challenge`].
    Prove {
        /// The session.
        session: SessionId,
        /// What proves that the client knows the secret.
        proof: ScramProof,
    },
    /// The client has seen [`AuthToFront::Signature`] and goes on: now it is granted.
    Proceed(SessionId),
    /// Nobody waits for the end of this login any more.
    Cancel(SessionId),
}

/// Who shows credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The client's address, for PAM, for auth's log and for its counts of failures.
    pub peer: IpAddr,
    /// Whether they came over TLS.
    pub tls: bool,
}

/// Why nobody can be who a client says. Auth checks a stand-in, so that the answer is that to a wrong password, in text and
/// time (promise P9), and refuses whatever the check finds. The log has the reason.
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

/// Longest bearer token, in bytes (RFC 6750 names no bound; what the large providers issue has 1 to 4 KiB).
pub const TOKEN_MAX: usize = 8 * 1024;

/// Most certificates of a client's chain.
pub const CHAIN_MAX: usize = 4;

/// Longest certificate of a client's chain, in bytes.
pub const CERTIFICATE_MAX: usize = 3 * 1024;

/// Longest of SCRAM's messages, in bytes, but the server's first.
pub const SCRAM_MAX: usize = 1024;

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// A name and a password: USER and PASS (RFC 1939, section 7), AUTH PLAIN (RFC 4616), AUTH LOGIN.
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
        /// The timestamp with its angle brackets, as this session's greeting had it.
        timestamp: Text<128>,
        /// The digest.
        digest: [u8; 16],
    },
    /// AUTH CRAM-MD5 (RFC 2195): the HMAC-MD5 of the challenge, keyed with the password.
    CramMd5 {
        /// The name.
        user: UserName,
        /// The challenge, as this session was given it.
        challenge: Text<128>,
        /// The digest.
        digest: [u8; 16],
    },
    /// The beginning of AUTH SCRAM-* (RFC 5802, section 5). The front has checked the GS2 header.
    Scram {
        /// Which one.
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
        /// The name, where the client gave one.
        user: Option<UserName>,
        /// The bearer token.
        token: Secret<TOKEN_MAX>,
    },
    /// AUTH EXTERNAL (RFC 4422, appendix A): the client's certificate. The front has seen the handshake, but is not
    /// believed: auth looks at the client's signature and at the chain by itself.
    Certificate {
        /// The name that is asked for, where the client gave one.
        user: Option<UserName>,
        /// The chain, DER, the client's own certificate first.
        chain: List<Bytes<CERTIFICATE_MAX>, CHAIN_MAX>,
        /// What TLS 1.3's `CertificateVerify` signs (RFC 8446, section 4.4.3).
        signed: Bytes<256>,
        /// By which scheme: its TLS code point.
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

/// SCRAM's `client-final-message`, taken apart. The front has checked its channel binding and its nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramProof {
    /// `client-final-message-without-proof`.
    pub without_proof: Text<SCRAM_MAX>,
    /// `ClientProof`: as long as the hash.
    pub proof: Bytes<32>,
}

/// What auth answers a front. A grant goes to the monitor instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthToFront {
    /// The check failed.
    Refused {
        /// The session that asked.
        session: SessionId,
        /// Why, as much as a client may learn.
        why: AuthRefusal,
    },
    /// To [`Credentials::Scram`], whether or not there is such a user: `server-first-message`.
    Challenge {
        /// The session that asked.
        session: SessionId,
        /// The message: nonce, salt, iterations.
        first: Text<1024>,
    },
    /// To [`FrontToAuth::Prove`]: the proof is right, and this is the server's (`ServerSignature`).
    Signature {
        /// The session that asked.
        session: SessionId,
        /// As long as the hash.
        signature: Bytes<32>,
    },
}

/// Why a login was refused. There is no word for "no such user" and none for "locked": promise P9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthRefusal {
    /// Unknown user, wrong password, or an account that may not log in.
    Credentials,
    /// The credentials are right, and this account's last login is not as long ago as it has to be: RFC 2449, section
    /// 8.1.1, `[LOGIN-DELAY]`.
    TooSoon,
    /// Nothing is said about the credentials: a source could not be asked. RFC 3206, `[SYS/TEMP]`.
    Temporary,
}

/// The phases of auth and of a front on this channel: there is one. What may come of one session in which order, auth
/// and the connection each keep for themselves: a session is not a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPhase {
    /// Checks and answers.
    Serving,
}

impl Message for FrontToAuth {
    const LIMIT: usize = 14 * 1024;
    type Phase = AuthPhase;
    fn permit(&self) -> Permit<AuthPhase> {
        use AuthPhase::Serving;
        match self {
            Self::Check { .. } => any("Check", &[Serving]),
            Self::Prove { .. } => any("Prove", &[Serving]),
            Self::Proceed(_) => any("Proceed", &[Serving]),
            Self::Cancel(_) => any("Cancel", &[Serving]),
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
