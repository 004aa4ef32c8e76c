//! monitor ↔ sessions: the start of sessions, its channels to auths and fronts, and its retirement.
//!
//! If the monitor closes this channel, sessions lets its workers end, and ends.

use crate::account::FrontId;
use crate::bounded::Text;
use crate::permit::{Message, Permit, any, once};
use crate::setup_phase::SetupPhase;
use serde::{Deserialize, Serialize};

/// Messages from the monitor to sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToSessions {
    /// Another popward-log runs: one descriptor, the channel for lines to it.
    Log,
    /// The configuration is in use: clean up what a crash left.
    Accept,
    /// The monitor's auth: one descriptor, the channel to it. It comes again after auth has died.
    Auth,
    /// The auth of a newer monitor: one descriptor, the channel to it.
    NewerAuth,
    /// A front: one descriptor, the channel to it.
    Front(FrontId),
    /// A newer monitor takes over. No front comes any more.
    Retire,
    /// The server ends. No front comes any more, and nothing is cleaned up.
    Drain,
}

/// A process with a channel to sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// The monitor's own auth.
    Auth,
    /// A front.
    Front(FrontId),
}

/// Messages from sessions to the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsToMonitor {
    /// Sessions can serve: one descriptor, an empty directory that becomes the root directory of
    /// processes.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
    },
    /// It cannot serve with this configuration, and ends.
    Unusable(Text<1024>),
    /// This process broke the rules of its channel to sessions, or does not read it. Sessions has
    /// closed the channel.
    BrokeRules(Peer, Text<256>),
    /// Auth has handed over and decided all logins, and each login that it granted has become a
    /// session or none.
    AuthDrained,
    /// After `Retire` or `Drain`: the last session has ended.
    Drained,
}

impl Message for MonitorToSessions {
    const LIMIT: usize = 64;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::Serving;
        match self {
            Self::Log => any("Log", &[Serving]).with_descriptors(1),
            Self::Accept => once("Accept", &[Serving]),
            Self::Auth => any("Auth", &[Serving]).with_descriptors(1),
            Self::NewerAuth => any("NewerAuth", &[Serving]).with_descriptors(1),
            Self::Front(_) => any("Front", &[Serving]).with_descriptors(1),
            Self::Retire => once("Retire", &[Serving]),
            Self::Drain => once("Drain", &[Serving]),
        }
    }
}

impl Message for SessionsToMonitor {
    const LIMIT: usize = 2 * 1024;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        use SetupPhase::{Serving, Starting};
        match self {
            Self::Ready { .. } => once("Ready", &[Starting]).with_descriptors(1),
            Self::Unusable(_) => once("Unusable", &[Starting]),
            Self::BrokeRules(..) => any("BrokeRules", &[Serving]),
            Self::AuthDrained => once("AuthDrained", &[Serving]),
            Self::Drained => once("Drained", &[Serving]),
        }
    }
}
