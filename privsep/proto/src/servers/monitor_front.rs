//! monitor ↔ front: settings, listening sockets, certificates, channels to other processes.

use crate::account::FrontId;
use crate::bounded::{List, Text};
use crate::keys::KeyId;
use crate::listen::ProxyHeaders;
use crate::monitor_keys::KeyFacts;
use crate::permit::{Message, Permit, any, once};
use crate::proxies::Proxies;
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// The settings of a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontSettings {
    /// [`crate::VERSION`].
    pub version: u32,
    /// This front's number: the upper half of its sessions' ids.
    pub front: FrontId,
    /// Whether a front was started with the same `limits.connections` before. If the limit on open
    /// files permits fewer, that front has logged it.
    pub connections_known: bool,
    /// Whether this front tells the log when the certificates expire. One front of a monitor does.
    pub tells_expiry: bool,
    /// Which clients may send a password without TLS.
    pub plaintext: Plaintext,
    /// The mechanisms that are offered.
    pub mechanisms: List<Mechanism, MECHANISMS_MAX>,
    /// This host's name, in challenges.
    pub host: Text<64>,
    /// The rules for TLS.
    pub tls: TlsSettings,
    /// The limits.
    pub limits: Limits,
    /// Texts and options of POP3.
    pub pop3: Pop3Settings,
    /// The settings about proxies.
    pub proxies: Proxies,
}

/// Texts and options of POP3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pop3Settings {
    /// The text after `+OK` in the greeting, in ASCII. `None`: [`Pop3Settings::GREETING`].
    pub greeting: Option<Text<128>>,
    /// The text after IMPLEMENTATION in CAPA after a login (RFC 2449, section 6.9), in ASCII.
    /// Empty: the capability is not listed. `None`: [`Pop3Settings::IMPLEMENTATION`].
    pub implementation: Option<Text<64>>,
    /// Whether the command UTF8 is offered (RFC 6856, section 2). Messages are sent as they are
    /// with and without it.
    pub utf8: bool,
    /// The language that `LANG *` selects (RFC 6856, section 3.2).
    pub language: Language,
    /// Whether logins and ends of sessions are logged in Qpopper's form too.
    pub qpopper_log: bool,
    /// The login delay that CAPA announces, in seconds (RFC 2449, section 6.5). 0: none. It is the
    /// longest one of all accounts. Auth enforces it.
    pub login_delay_s: u32,
    /// Whether accounts have different login delays.
    pub login_delay_differs: bool,
}

impl Pop3Settings {
    /// The default greeting.
    pub const GREETING: &str = "popward ready";
    /// The default implementation.
    pub const IMPLEMENTATION: &str = "popward";
    /// The defaults.
    pub const DEFAULT: Self = Self {
        greeting: None,
        implementation: None,
        utf8: true,
        language: Language::English,
        qpopper_log: false,
        login_delay_s: 0,
        login_delay_differs: false,
    };
}

/// A language of replies (RFC 6856, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English. All of its texts are ASCII.
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Spanish];

    /// The language's tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }
}

/// The number of mechanisms.
pub const MECHANISMS_MAX: usize = 10;

/// A mechanism for logins.
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
    /// AUTH XOAUTH2: OAUTHBEARER's predecessor, which has no RFC.
    Xoauth2,
}

/// The rules for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// Whether TLS 1.3 is required. Otherwise TLS 1.2 is accepted too.
    pub only_1_3: bool,
    /// The shortest life of a session ticket, in milliseconds. 0: there are no tickets.
    pub ticket_ms: u32,
}

/// The limits of a front. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most connections at once.
    pub connections: u32,
    /// Most connections at once that have not logged in.
    pub unauthenticated: u32,
    /// Most connections at once from one address (IPv6: from one /64).
    pub connections_per_address: u32,
    /// Most connections at once from one prefix: an IPv4 /24, an IPv6 /48.
    pub connections_per_prefix: u32,
    /// Most new connections in a minute from one address, averaged. 0: no limit.
    pub connections_per_minute: u32,
    /// Longest time from accept to a login, including the TLS handshake.
    pub login_ms: u32,
    /// Longest time without a command. RFC 1939, section 3, demands at least 10 minutes.
    pub idle_ms: u32,
    /// Longest time from the first octet of a command to the end of its line.
    pub line_ms: u32,
    /// Longest time in which the client takes no octet of a reply. `rate` is measured over the same
    /// time.
    pub stall_ms: u32,
    /// Least octets in a second that a client must take of a reply.
    pub rate: u32,
    /// After so much silence a session ends if its user logs in again. `None`: never.
    pub yield_ms: Option<u32>,
    /// Longest session, from login.
    pub session_ms: u32,
    /// Longest wait for auth's answer, and for the worker's opening, including its wait for locks.
    pub open_ms: u32,
    /// After so many unknown or malformed commands, the connection is closed.
    pub bad_commands: u32,
    /// After so many failed logins, the connection is closed.
    pub failed_logins: u32,
    /// Longest time from [`MonitorToFront::Drain`] to the end of sessions.
    pub drain_ms: u32,
}

/// Which clients may send a password without TLS. RFC 8314, section 4.1, recommends none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plaintext {
    /// None.
    Never,
    /// Clients on this host.
    Loopback,
    /// All clients.
    Always,
}

/// Messages from the monitor to a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToFront {
    /// The first message. The settings do not change: a reload starts another front.
    Settings(Box<FrontSettings>),
    /// A listening socket: one descriptor.
    Listener {
        /// Whether TLS begins with the connection (RFC 8314).
        tls: bool,
        /// Which connections begin with a PROXY header.
        headers: ProxyHeaders,
    },
    /// The authorities of client certificates, PEM: one descriptor. Without it no client is asked
    /// for a certificate.
    ClientAuthorities,
    /// A certificate chain, PEM, with what is known of its key: one descriptor.
    Certificate(KeyFacts),
    /// The channel from sessions: one descriptor.
    Sessions,
    /// The channel to auth: one descriptor. It comes again when another auth was started, after a
    /// death or a reload.
    Auth,
    /// The channel to keys, likewise.
    Keys,
    /// Everything was given: confine, and say `Ready`.
    Serve,
    /// The configuration is in use: accept.
    Accept,
    /// Other fronts accept from now on. Accept nobody, and serve the connections that are there to
    /// the end.
    Retire,
    /// Accept nobody any more. Let connections log in, and sessions end, within their time.
    Drain,
}

/// Messages from a front to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToMonitor {
    /// Confined, and everything that was given can be used.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// What was given cannot be used, in words for the operator.
    Unusable {
        /// The key whose certificate it is, if it is one.
        key: Option<KeyId>,
        /// Why.
        why: Text<256>,
    },
    /// After `Drain` or `Retire`: the last session has ended.
    Drained,
}

impl Message for MonitorToFront {
    const LIMIT: usize = 4096;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Settings(_) => once("Settings", &[Starting]),
            Self::Listener { .. } => any("Listener", &[Starting]).with_descriptors(1),
            Self::ClientAuthorities => once("ClientAuthorities", &[Starting]).with_descriptors(1),
            Self::Certificate(_) => any("Certificate", &[Starting]).with_descriptors(1),
            Self::Sessions => once("Sessions", &[Starting]).with_descriptors(1),
            Self::Auth => any("Auth", &[Starting, Serving]).with_descriptors(1),
            Self::Keys => any("Keys", &[Starting, Serving]).with_descriptors(1),
            Self::Serve => once("Serve", &[Starting]),
            Self::Accept => once("Accept", &[Serving]),
            Self::Retire => once("Retire", &[Serving]),
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
            Self::Unusable { .. } => once("Unusable", &[Starting]),
            Self::Drained => once("Drained", &[Serving]),
        }
    }
}
