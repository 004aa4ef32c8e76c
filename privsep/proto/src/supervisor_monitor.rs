//! supervisor ↔ monitor: the start of a monitor, its turn to accept, its retirement, and the claims
//! by which monitors share what holds for a user.
//!
//! Each monitor has one configuration, which it gets over a channel of its own as
//! [`crate::config_monitor::ConfigToMonitor`] messages. If the supervisor closes the channel of
//! this file, the monitor ends its processes and itself.

use crate::account::{FrontId, SessionId};
use crate::bounded::{AbsolutePath, Text, UserName};
use crate::listen::ProxyHeaders;
use crate::log::Level;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// The number of fronts that one monitor can start. It ends when it has started so many, and
/// another monitor takes its place.
pub const FRONTS_MAX: u32 = 0x1000;

/// Messages from the supervisor to a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToMonitor {
    /// A listening socket: one descriptor.
    Listener {
        /// Whether TLS begins with the connection (RFC 8314).
        tls: bool,
        /// Which connections begin with a PROXY header.
        headers: ProxyHeaders,
    },
    /// Everything was given: start the processes.
    Start(Start),
    /// Another popward-log runs: one descriptor, the channel for lines to it.
    Log,
    /// The configuration is in use: accept.
    Accept,
    /// An older monitor: one descriptor, the channel to it for this monitor's auth.
    OlderMonitor,
    /// The auth of a still newer monitor, after `Retire`: one descriptor, the channel to it. The
    /// fronts ask it about new logins.
    NewerAuth,
    /// A newer monitor takes over: one descriptor, the channel to its auth. Hand over to that auth
    /// what this monitor's auth remembers, and accept nobody any more. Serve the connections that
    /// are there to their ends. Then end.
    Retire,
    /// There is no older monitor any more.
    Oldest,
    /// The server ends: let sessions end within their time, then end.
    Drain,
    /// The answer to [`MonitorToSupervisor::Claim`]. `Some`: why the session gets no worker.
    Claimed(SessionId, Option<Refusal>),
    /// The user of this session logs in again, and may wait for its locks.
    Newcomer(SessionId),
}

/// How a monitor starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`crate::VERSION`].
    pub version: u32,
    /// The number of its first front. The [`FRONTS_MAX`] numbers from here on are its own.
    pub first_front: FrontId,
    /// Only try whether auth can use its part of the configuration, then end. Nothing is served,
    /// and no file is made.
    pub trial: bool,
    /// Look for what a crash left: locks, and updates that are half done.
    pub after_crash: bool,
    /// There is no older monitor.
    pub oldest: bool,
    /// `limits.connections` of the configuration before.
    pub connections_before: Option<u32>,
    /// The supervisor's part of the configuration, as far as the monitor uses it.
    pub common: CommonSettings,
}

/// What the supervisor and the monitors use of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonSettings {
    /// Where the other executables are.
    pub libexec: AbsolutePath,
    /// Where users' state directories are. A reload does not change it.
    pub state: AbsolutePath,
    /// How long running sessions may go on after SIGTERM, in seconds.
    pub grace_s: u16,
    /// The least important level of the log.
    pub log_level: Level,
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Its user has as many sessions as a user may have.
    TooMany,
    /// popward-adopt works for another session of this user.
    Adopting,
    /// Another session of this user has another spool, before a reload or by another source of
    /// accounts.
    Elsewhere,
}

/// Why a monitor cannot serve, in words for the operator.
pub type Why = Text<1024>;

/// Messages from a monitor to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToSupervisor {
    /// All of its processes can serve.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// It cannot serve with this configuration, and ends.
    Unusable(Why),
    /// After `Retire`: what auth remembers goes to the newer auth from now on.
    Retired,
    /// Another auth runs in the place of one that died. It knows no older monitor yet.
    NewAuth,
    /// A process cannot use what it was given, because files have changed. Read the configuration
    /// again.
    Reload,
    /// A session is to get a worker.
    Claim {
        /// The session.
        session: SessionId,
        /// The account's name.
        user: UserName,
        /// The directory of the spool.
        directory: AbsolutePath,
        /// The spool's name in it.
        spool: UserName,
        /// Most sessions of this user at once.
        sessions_max: u32,
        /// popward-adopt may work for it first.
        adopts: bool,
    },
    /// popward-adopt does not work for this session any more.
    Adopted(SessionId),
    /// This session's worker has ended, and nobody finishes an update of it.
    Released(SessionId),
}

impl Message for SupervisorToMonitor {
    const LIMIT: usize = 3 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Listener { .. } => any("Listener", &[Starting]).with_descriptors(1),
            Self::Start(_) => once("Start", &[Starting]),
            Self::Log => any("Log", &[Serving]).with_descriptors(1),
            Self::Accept => once("Accept", &[Serving]),
            Self::OlderMonitor => any("OlderMonitor", &[Serving]).with_descriptors(1),
            Self::NewerAuth => any("NewerAuth", &[Serving]).with_descriptors(1),
            Self::Retire => once("Retire", &[Serving]).with_descriptors(1),
            Self::Oldest => once("Oldest", &[Serving]),
            Self::Drain => once("Drain", &[Serving]),
            Self::Claimed(..) => any("Claimed", &[Serving]),
            Self::Newcomer(_) => any("Newcomer", &[Serving]),
        }
    }
}

impl Message for MonitorToSupervisor {
    const LIMIT: usize = 5 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]),
            Self::Unusable(_) => once("Unusable", &[Starting]),
            Self::Retired => once("Retired", &[Serving]),
            Self::NewAuth => any("NewAuth", &[Serving]),
            Self::Reload => any("Reload", &[Serving]),
            Self::Claim { .. } => any("Claim", &[Serving]),
            Self::Adopted(_) => any("Adopted", &[Serving]),
            Self::Released(_) => any("Released", &[Serving]),
        }
    }
}
