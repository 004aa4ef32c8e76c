//! supervisor ↔ monitor: the start of a monitor, its turn to accept, and its retirement.
//!
//! Each monitor has one configuration, which it gets over a channel of its own as
//! [`crate::config_monitor::ConfigToMonitor`] messages. If the supervisor closes the channel of
//! this file, the monitor ends its processes and itself.

use crate::account::FrontId;
use crate::bounded::{AbsolutePath, Text};
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
    /// Another popward-log runs: two descriptors, the channels for lines of the monitor and of its
    /// sessions.
    Log,
    /// The configuration is in use: accept.
    Accept,
    /// An older monitor: two descriptors for this monitor's auth, the channels to the older monitor
    /// and to its sessions.
    OlderMonitor,
    /// The auth of a still newer monitor, after `Retire`: two descriptors, its channels to this
    /// monitor and to its sessions. The fronts ask it about new logins.
    NewerAuth,
    /// A newer monitor takes over: two descriptors, the channels of its auth to this monitor and to
    /// its sessions. Hand over to that auth what this monitor's auth remembers, and accept nobody any more. Serve the connections that
    /// are there to their ends. Then end.
    Retire,
    /// There is no older monitor any more.
    Oldest,
    /// The server ends: let connections log in, and sessions end, within their time. Then end.
    Drain,
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
    /// How long running sessions may go on after SIGTERM, in seconds.
    pub grace_s: u16,
    /// The least important level of the log.
    pub log_level: Level,
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
}

impl Message for SupervisorToMonitor {
    const LIMIT: usize = 3 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Listener { .. } => any("Listener", &[Starting]).with_descriptors(1),
            Self::Start(_) => once("Start", &[Starting]),
            Self::Log => any("Log", &[Serving]).with_descriptors(2),
            Self::Accept => once("Accept", &[Serving]),
            Self::OlderMonitor => any("OlderMonitor", &[Serving]).with_descriptors(2),
            Self::NewerAuth => any("NewerAuth", &[Serving]).with_descriptors(2),
            Self::Retire => once("Retire", &[Serving]).with_descriptors(2),
            Self::Oldest => once("Oldest", &[Serving]),
            Self::Drain => once("Drain", &[Serving]),
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
        }
    }
}
