//! monitor ↔ front: settings, listening sockets, certificates, the sockets of sessions.

use crate::account::{FrontId, SessionId};
use crate::bounded::{List, Text, UserName};
use crate::monitor_auth::SetupPhase;
use crate::monitor_keys::KeyFacts;
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};

/// What a front may do, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontSettings {
    /// [`crate::VERSION`].
    pub version: u32,
    /// This front's number: the upper half of its sessions' ids.
    pub front: FrontId,
    /// From whom USER and PASS are taken without TLS.
    pub plaintext: Plaintext,
    /// By which ways a login can be made.
    pub mechanisms: List<Mechanism, MECHANISMS_MAX>,
    /// Seconds from one login of an account to the next, as CAPA announces them; 0 for none. Auth sees to them.
    pub login_delay_s: u32,
    /// This host's name, in challenges.
    pub host: Text<64>,
    /// By which rules TLS is spoken.
    pub tls: TlsSettings,
    /// How much of everything.
    pub limits: Limits,
}

/// How many ways there are to log in.
pub const MECHANISMS_MAX: usize = 10;

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// USER and PASS (RFC 1939, section 7).
    User,
    /// APOP (RFC 1939, section 7).
    Apop,
    /// AUTH PLAIN (RFC 4616).
    Plain,
    /// AUTH LOGIN (draft-murchison-sasl-login).
    Login,
    /// AUTH CRAM-MD5 (RFC 2195).
    CramMd5,
    /// AUTH SCRAM-SHA-1 and SCRAM-SHA-1-PLUS (RFC 5802).
    ScramSha1,
    /// AUTH SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 7677).
    ScramSha256,
    /// AUTH EXTERNAL (RFC 4422, appendix A): by the client's certificate.
    External,
    /// AUTH OAUTHBEARER (RFC 7628).
    Oauthbearer,
    /// AUTH XOAUTH2: the same before it had an RFC.
    Xoauth2,
}

/// By which rules TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// Clients that cannot TLS 1.3 are turned away; otherwise those that cannot TLS 1.2.
    pub only_1_3: bool,
    /// How long a session ticket is good for at the least, in milliseconds; 0: there are none.
    pub ticket_ms: u32,
}

/// How much of everything a front takes. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most connections at once.
    pub connections: u32,
    /// Most connections at once from one address (IPv6: from one /64).
    pub connections_per_address: u32,
    /// From accept to a login, the TLS handshake included.
    pub login_ms: u32,
    /// Without a command (RFC 1939, section 3: at least 10 minutes).
    pub idle_ms: u32,
    /// For a reply of which the client takes no octet.
    pub stall_ms: u32,
    /// For a whole session, from login.
    pub session_ms: u32,
    /// For auth's answer and the worker's opening, the lock's wait included.
    pub open_ms: u32,
    /// Unknown or malformed commands until the connection is closed.
    pub bad_commands: u32,
    /// Failed logins until the connection is closed.
    pub failed_logins: u32,
    /// For running sessions to end after [`MonitorToFront::Drain`].
    pub drain_ms: u32,
}

/// From whom a password is taken without TLS (RFC 8314, section 4.1: from nobody).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plaintext {
    /// From nobody.
    Never,
    /// From this host.
    Loopback,
    /// From everybody.
    Always,
}

/// What the monitor tells a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToFront {
    /// The first message, and again after a reload, for connections from then on.
    Settings(FrontSettings),
    /// A listening socket: one descriptor.
    Listener {
        /// Whether TLS begins with the connection (RFC 8314).
        tls: bool,
    },
    /// The authorities of client certificates, PEM: one descriptor. It comes before the set of certificates with which
    /// it is in use; where none comes, no client is asked for a certificate.
    ClientAuthorities,
    /// A certificate chain, PEM: one descriptor. The new set is in use when its last one has come.
    Certificate {
        /// What is known of its key.
        key: KeyFacts,
        /// Whether it is the last of its set.
        last: bool,
    },
    /// The channel to auth, or to the one that was started in the place of one that died: one descriptor.
    Auth,
    /// The channel to keys, likewise.
    Keys,
    /// Everything was given: confine, say `Ready`, and accept.
    Serve,
    /// A session's worker: one descriptor, its socket.
    Session {
        /// The session.
        session: SessionId,
        /// The account's name, as the source of accounts spells it, for the log.
        user: UserName,
    },
    /// Auth granted, and no worker could be made.
    NoSession(SessionId),
    /// The session's worker has gone, and its locks with it.
    Ended {
        /// The session.
        session: SessionId,
        /// It did not finish its update, and another worker did.
        finished: bool,
    },
    /// Accept nobody any more; end what waits for a login; let sessions end within their time.
    Drain,
}

/// What a front tells the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToMonitor {
    /// Confined and accepting.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// A certificate chain cannot be used with its key; the set before it, if any, stays.
    Unusable(Text<256>),
    /// After `Drain`: the last session has ended.
    Drained,
}

impl Message for MonitorToFront {
    const LIMIT: usize = 4096;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings(_) => any("Settings", &[Starting, Serving]),
            Self::Listener { .. } => any("Listener", &[Starting]).with_descriptors(1),
            Self::ClientAuthorities => {
                any("ClientAuthorities", &[Starting, Serving]).with_descriptors(1)
            }
            Self::Certificate { .. } => {
                any("Certificate", &[Starting, Serving]).with_descriptors(1)
            }
            Self::Auth => any("Auth", &[Starting, Serving]).with_descriptors(1),
            Self::Keys => any("Keys", &[Starting, Serving]).with_descriptors(1),
            Self::Serve => once("Serve", &[Starting]),
            Self::Session { .. } => any("Session", &[Serving]).with_descriptors(1),
            Self::NoSession(_) => any("NoSession", &[Serving]),
            Self::Ended { .. } => any("Ended", &[Serving]),
            Self::Drain => once("Drain", &[Serving]),
        }
    }
}

impl Message for FrontToMonitor {
    const LIMIT: usize = 512;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]),
            Self::Unusable(_) => any("Unusable", &[Starting, Serving]),
            Self::Drained => once("Drained", &[Serving]),
        }
    }
}
