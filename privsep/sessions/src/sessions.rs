//! The state of sessions, and what its other files share: whom it knows, and whom it tells what.

use crate::config::Config;
use crate::starter::WorkerStarter;
use crate::state::StateRoot;
use crate::workers::{NoWorker, Worker};
use nix::sys::socket::{Shutdown, shutdown};
use popward_parent::events::ChildId;
use popward_parent::log::LogWriter;
use popward_parent::process::send;
use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::bounded::{Text, UserName};
use popward_proto::log::NoMessage;
use popward_proto::monitor_sessions::{MonitorToSessions, Peer, SessionsToMonitor};
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::supervisor_sessions::{SessionsToSupervisor, SupervisorToSessions};
use popward_sys::channel::{Channel, ChannelError};
use popward_sys::log_rate_limit::LogRateLimit;
use popward_sys::spawn::pace::Pace;
use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The channel to the monitor.
pub(crate) type Monitor = Channel<SessionsToMonitor, MonitorToSessions>;

/// The channel to the supervisor.
pub(crate) type Supervisor = Channel<SessionsToSupervisor, SupervisorToSessions>;

/// The channel to an auth.
pub(crate) type AuthChannel = Channel<SessionsToAuth, AuthToSessions>;

/// The channel to a front. Nothing is read from it.
pub(crate) type FrontChannel = Channel<SessionsToFront, NoMessage>;

/// How long workers have, after their channels were shut, to end by themselves.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Where sessions is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Grants become sessions.
    Serving,
    /// A newer monitor's fronts accept, or the server ends. The sessions of the fronts that are
    /// there go on to their ends, and more of them can begin.
    Retired,
    /// Workers were told to end. Those that still run then are killed.
    Ending(Instant),
}

/// The process's state.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) config: Config,
    pub(crate) monitor: Monitor,
    pub(crate) supervisor: (ChildId, Supervisor),
    pub(crate) log: LogWriter,
    pub(crate) starter: WorkerStarter,
    pub(crate) state: StateRoot,
    pub(crate) stage: Stage,
    /// The monitor's auth and those of newer monitors. The last one is asked about new logins, and
    /// those before still decide some.
    pub(crate) auths: BTreeMap<ChildId, AuthChannel>,
    /// The number of the monitor's own auth.
    pub(crate) own_auth: Option<ChildId>,
    /// The monitor's auth has handed over and decided all logins.
    pub(crate) auth_drained: bool,
    pub(crate) fronts: BTreeMap<ChildId, (FrontId, FrontChannel)>,
    /// Sessions for which the supervisor was asked.
    pub(crate) claims: BTreeMap<SessionId, Account>,
    pub(crate) workers: BTreeMap<ChildId, Worker>,
    /// Accounts whose update was broken off, or whose dotlock was left, before the start.
    pub(crate) to_tend: Vec<Account>,
    pub(crate) tended: u32,
    /// About whom the log said that they get no worker, and why.
    pub(crate) said: LogRateLimit<(UserName, Discriminant<NoWorker>)>,
    /// Whose sessions fail too often.
    pub(crate) pace: Pace,
    /// The monitor knows that no login of its auth waits for a session.
    pub(crate) told_of_auth: bool,
    /// The monitor knows that the last session has ended.
    pub(crate) told_of_end: bool,
}

impl Sessions {
    pub(crate) fn new(
        config: Config,
        (monitor, supervisor): (Monitor, (ChildId, Supervisor)),
        log: LogWriter,
        (starter, state): (WorkerStarter, StateRoot),
        to_tend: Vec<Account>,
    ) -> Self {
        Self {
            config,
            monitor,
            supervisor,
            log,
            starter,
            state,
            stage: Stage::Serving,
            auths: BTreeMap::new(),
            own_auth: None,
            auth_drained: false,
            fronts: BTreeMap::new(),
            claims: BTreeMap::new(),
            workers: BTreeMap::new(),
            to_tend,
            tended: 0,
            said: LogRateLimit::default(),
            pace: Pace::default(),
            told_of_auth: false,
            told_of_end: false,
        }
    }

    /// Whether workers can be started.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.stage, Stage::Serving | Stage::Retired)
    }

    /// Tells the supervisor. Returns whether it takes the message.
    pub(crate) fn tell(&self, message: &SessionsToSupervisor) -> bool {
        send(&self.supervisor.1, message, &[]).is_ok()
    }

    /// Tells the monitor. If the monitor has ended, this process sees that soon.
    pub(crate) fn tell_monitor(&self, message: &SessionsToMonitor) {
        let _ = send(&self.monitor, message, &[]);
    }

    /// Whether the channel to this front is open.
    pub(crate) fn has_front(&self, wanted: FrontId) -> bool {
        self.fronts.values().any(|(number, _)| *number == wanted)
    }

    /// Tells one front. Returns whether there is a front that hears it.
    pub(crate) fn tell_front(
        &mut self,
        wanted: FrontId,
        message: &SessionsToFront,
        files: &[BorrowedFd<'_>],
    ) -> bool {
        let mut fronts = self.fronts.iter();
        let Some((id, (_, channel))) = fronts.find(|(_, (number, _))| *number == wanted) else {
            return false;
        };
        let (id, sent) = (*id, send(channel, message, files));
        match sent {
            Ok(()) => return true,
            Err(ChannelError::Closed) => {}
            Err(error) => self.break_with(id, &error),
        }
        false
    }

    /// Closes the channel to an auth or a front that broke the rules, or does not read. Tells the
    /// monitor, unless it is another monitor's auth.
    pub(crate) fn break_with(&mut self, id: ChildId, error: &ChannelError) {
        let peer = if self.own_auth == Some(id) {
            Some(Peer::Auth)
        } else {
            let front = self.fronts.get(&id);
            front.map(|(number, _)| Peer::Front(*number))
        };
        self.disconnect(id);
        if let Some(peer) = peer {
            let error = Text::truncated(&error.to_string());
            self.tell_monitor(&SessionsToMonitor::BrokeRules(peer, error));
        }
    }

    /// Closes the channel to an auth or a front.
    pub(crate) fn disconnect(&mut self, id: ChildId) {
        let events = &self.starter.starter.events;
        if let Some(auth) = self.auths.remove(&id) {
            events.forget(auth.as_fd());
        } else if let Some((_, front)) = self.fronts.remove(&id) {
            events.forget(front.as_fd());
        }
        self.own_auth.take_if(|own| *own == id);
        self.tidy();
    }

    /// Tells the monitor what it waits for, once.
    pub(crate) fn tidy(&mut self) {
        // A front takes the end of auth for the end of each login that has no session yet. So auth
        // stays while claims wait for the supervisor.
        if self.auth_drained && self.claims.is_empty() && !self.told_of_auth {
            self.told_of_auth = true;
            self.tell_monitor(&SessionsToMonitor::AuthDrained);
        }
        let ends = match self.stage {
            // The last front has no client any more. No other one comes.
            Stage::Retired => self.fronts.is_empty(),
            Stage::Serving | Stage::Ending(_) => false,
        };
        let empty = self.workers.is_empty() && self.claims.is_empty();
        if ends && empty && !self.told_of_end {
            self.told_of_end = true;
            self.tell_monitor(&SessionsToMonitor::Drained);
        }
    }

    /// Shuts all channels to workers, so that they end without update.
    pub(crate) fn end(&mut self) {
        self.starter.starter.events.forget(self.monitor.as_fd());
        self.stage = Stage::Ending(Instant::now() + FAREWELL);
        self.auths.clear();
        self.fronts.clear();
        for worker in self.workers.values() {
            // The channel is shut and not closed, because the session's dotlock is still to be
            // removed. This fails if the worker has gone.
            if let Some(channel) = &worker.child.channel {
                let _ = shutdown(channel.as_fd().as_raw_fd(), Shutdown::Write);
            }
        }
    }
}
