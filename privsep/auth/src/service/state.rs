//! Auth's state: its channels, its settings, the logins under way and what is remembered of others.

use super::generations::{Predecessor, Successor};
use crate::conversations::Conversations;
use crate::hashing::HashingThreads;
use crate::login::{LOGINS_MAX, Logins};
use crate::policy::admission::AdmissionRules;
use crate::policy::attempts::Attempts;
use crate::policy::interval::Intervals;
use crate::policy::penalties::Penalties;
use crate::trusted_file;
use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::account_selector::AccountSelector;
use popward_proto::auth::{AuthRefusal, AuthToFront, FrontToAuth};
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::{AuthSettings, AuthToMonitor, MonitorToAuth};
use popward_proto::network::Network;
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError};
use popward_sys::log::Log;
use popward_sys::log_rate_limit::LogRateLimit;
use std::os::fd::OwnedFd;
use std::time::Instant;

pub(super) type Monitor = Channel<AuthToMonitor, MonitorToAuth>;
pub(super) type Sessions = Channel<AuthToSessions, SessionsToAuth>;
pub(super) type Front = Channel<AuthToFront, FrontToAuth>;

/// The settings in force.
pub(super) struct Settings {
    pub(super) configured: AuthSettings,
    /// `configured.admission` with the contents of its files.
    pub(super) admission: AdmissionRules,
}

/// What is remembered of logins that are over.
pub(super) struct History {
    pub(super) penalties: Penalties,
    pub(super) attempts: Attempts,
    pub(super) intervals: Intervals,
}

/// Limits for log lines that strangers cause.
#[derive(Default)]
pub(super) struct LogLimits {
    /// Lines about sources that wait.
    pub(super) waiting: LogRateLimit<Network>,
    /// Lines about logins that cannot be checked, by their cause.
    pub(super) causes: LogRateLimit<String>,
    /// Lines about users who log in before their login delay is over.
    pub(super) too_soon: LogRateLimit<UserName>,
}

/// A monitor before, which serves its last connections.
pub(super) struct OlderMonitor {
    pub(super) channel: Monitor,
    /// The channel to its sessions. `None` once it has ended.
    pub(super) sessions: Option<Sessions>,
    pub(super) fronts: Vec<FrontId>,
}

/// The process's state.
pub(crate) struct Auth {
    pub(super) monitor: Monitor,
    /// The channel to the monitor's sessions. `None` before the settings, and once it has ended.
    pub(super) sessions: Option<Sessions>,
    pub(super) older_monitors: Vec<OlderMonitor>,
    /// When a session of an older monitor's front was last granted.
    pub(super) granted_to_older: Option<Instant>,
    pub(super) fronts: Vec<(FrontId, Front)>,
    pub(super) settings: Option<Settings>,
    /// Login delays that belong to the next settings.
    pub(super) delays: Vec<(AccountSelector, u32)>,
    pub(super) logins: Logins,
    pub(super) history: History,
    pub(super) log_limits: LogLimits,
    pub(super) hashing: HashingThreads,
    pub(super) conversations: Conversations,
    /// The auth that takes over from this one.
    pub(super) successor: Option<Successor>,
    /// The auth from which this one takes over.
    pub(super) predecessor: Option<Predecessor>,
    pub(super) log: Log,
}

impl Auth {
    /// Auth before the first settings. Returns the log with an error, so
    /// that the error can be logged.
    pub(crate) fn new(control: OwnedFd, log: Log) -> Result<Self, (Log, std::io::Error)> {
        let hashing = trusted_file::trust_maker_of(&control)
            .map_err(std::io::Error::from)
            .and_then(|()| HashingThreads::new());
        let hashing = match hashing {
            Ok(hashing) => hashing,
            Err(error) => return Err((log, error)),
        };
        Ok(Self {
            monitor: Channel::new(control, SetupPhase::Starting),
            sessions: None,
            older_monitors: Vec::new(),
            granted_to_older: None,
            fronts: Vec::new(),
            settings: None,
            delays: Vec::new(),
            logins: Logins::default(),
            history: History {
                penalties: Penalties::new(),
                attempts: Attempts::new(LOGINS_MAX),
                intervals: Intervals::new(),
            },
            log_limits: LogLimits::default(),
            hashing,
            conversations: Conversations::default(),
            successor: None,
            predecessor: None,
            log,
        })
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The older monitor that has this front. `None`: it is a front of the own monitor.
    fn older_monitor_of(&self, front: FrontId) -> Option<&OlderMonitor> {
        let mut older = self.older_monitors.iter();
        older.find(|older| older.fronts.contains(&front))
    }

    /// Tells the monitor of a front. An error is one of the channel to the own monitor. An older
    /// monitor that does not read loses what it is told.
    pub(super) fn tell_monitor_of(
        &self,
        front: FrontId,
        message: &AuthToMonitor,
    ) -> Result<(), ChannelError> {
        match self.older_monitor_of(front) {
            Some(older) => {
                let _ = older.channel.send(message);
                Ok(())
            }
            None => self.monitor.send(message),
        }
    }

    /// Grants a session, by telling the sessions of its front's monitor. An error is one of the
    /// channel to the own sessions. Those of an older monitor lose a grant that they do not read.
    pub(super) fn tell_sessions(
        &mut self,
        session: SessionId,
        account: Account,
    ) -> Result<(), ChannelError> {
        let granted = AuthToSessions::Granted { session, account };
        if let Some(older) = self.older_monitor_of(session.front()) {
            let sessions = older.sessions.as_ref();
            let _ = sessions.map(|sessions| sessions.send(&granted));
            self.granted_to_older = Some(Instant::now());
            return Ok(());
        }
        let sessions = self.sessions.as_ref().ok_or(ChannelError::Closed)?;
        sessions.send(&granted)
    }

    /// Tells a front that its session's login was refused.
    pub(super) fn refuse(&self, session: SessionId, why: AuthRefusal) {
        self.answer(session, &AuthToFront::Refused { session, why });
    }

    /// Sends an answer to the front of a session.
    pub(super) fn answer(&self, session: SessionId, answer: &AuthToFront) {
        let front = self.fronts.iter().find(|(id, _)| *id == session.front());
        if let Some((_, front)) = front {
            // If the front does not take the answer, either the front is gone, or its time limit
            // for the client ends the login.
            let _ = front.send(answer);
        }
    }
}
