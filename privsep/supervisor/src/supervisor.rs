//! The supervisor's state, and how processes start: monitors, popward-config and popward-log.

use crate::claims::Claims;
use crate::config::Config;
use crate::listeners::Listener;
use crate::log_process::LogProcess;
use crate::monitors::Monitor;
use crate::outcome::Outcomes;
use crate::reader::Reading;
use nix::sys::signalfd::SignalFd;
use popward_parent::connected_child::AnyChild;
use popward_parent::events::ChildId;
use popward_parent::log::LogWriter;
use popward_parent::process::{BackOff, Starter, send};
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::supervisor_monitor::{FRONTS_MAX, Start, SupervisorToMonitor};
use popward_proto::supervisor_sessions::SupervisorToSessions;
use popward_sys::channel::{ChannelError, socket_pair};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a monitor may take until it can serve. A monitor says itself after 30 s which of its
/// parts cannot.
const RISE: Duration = Duration::from_secs(40);

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Until the first monitor serves. An error ends the start.
    Starting,
    Serving,
    /// The server ends. There are no new connections, and each monitor ends with its last session.
    Draining,
    /// All channels are closed.
    Ending,
}

/// The monitor that is to take the place of the current one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next {
    pub(crate) id: ChildId,
    /// By when it must be able to serve. If it can, until when the current one may take to hand
    /// over.
    pub(crate) until: Instant,
    /// It can serve.
    pub(crate) ready: bool,
}

/// The processes that run.
#[derive(Debug, Default)]
pub(crate) struct Children {
    /// The oldest first.
    pub(crate) monitors: BTreeMap<ChildId, Monitor>,
    pub(crate) reading: Option<Reading>,
    pub(crate) log: Option<LogProcess>,
}

impl Children {
    /// The child of this number.
    pub(crate) fn get(&mut self, id: ChildId) -> Option<&mut dyn AnyChild> {
        if let Some(monitor) = self.monitors.get_mut(&id) {
            return Some(&mut monitor.child);
        }
        let reading = self.reading.as_mut();
        let reading = reading.map(|reading| &mut reading.child as &mut dyn AnyChild);
        let log = self.log.as_mut().map(|log| &mut log.0 as &mut dyn AnyChild);
        let mut both = reading.into_iter().chain(log);
        both.find_map(|child| (child.process().id() == id).then_some(child))
    }
}

/// The supervisor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// The configuration file. A reload reads it again.
    pub(crate) path: PathBuf,
    /// The configuration in use.
    pub(crate) config: Rc<Config>,
    pub(crate) starter: Starter,
    pub(crate) signals: SignalFd,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) log: LogWriter,
    pub(crate) children: Children,
    pub(crate) stage: Stage,
    /// The monitor whose fronts accept.
    pub(crate) current: Option<ChildId>,
    /// The monitor that is to take its place.
    pub(crate) next: Option<Next>,
    pub(crate) claims: Claims,
    pub(crate) outcomes: Outcomes,
    /// A reload is wanted that has not begun.
    pub(crate) wanted: bool,
    /// The log says that a reload waits.
    pub(crate) waits: bool,
    /// How many monitors were started.
    pub(crate) started: u32,
    pub(crate) back_off: BTreeMap<Role, BackOff>,
    /// What is to be started again, and when.
    pub(crate) due: BTreeMap<Role, Instant>,
    pub(crate) failure: Option<String>,
}

impl Supervisor {
    /// All monitors, the oldest first.
    pub(crate) fn monitors(&self) -> Vec<ChildId> {
        self.children.monitors.keys().copied().collect()
    }

    /// The monitors that serve their last connections, the oldest first.
    pub(crate) fn old(&self) -> Vec<ChildId> {
        let new = [self.current, self.next.map(|next| next.id)];
        let mut old = self.monitors();
        old.retain(|id| !new.contains(&Some(*id)));
        old
    }

    /// Whether the monitor of this number is the next one, and can serve or cannot yet.
    pub(crate) fn next_is(&self, id: ChildId, ready: bool) -> bool {
        let is = |next: Next| (next.id, next.ready) == (id, ready);
        self.next.is_some_and(is)
    }

    /// Tells a monitor. One that does not read is killed.
    pub(crate) fn tell(&mut self, id: ChildId, message: &SupervisorToMonitor, ends: &[OwnedFd]) {
        let ends: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
        let monitor = self.children.monitors.get(&id);
        let sent = monitor.map_or(Ok(()), |monitor| monitor.child.send(message, &ends));
        self.banish_if(id, sent);
    }

    fn banish_if(&mut self, id: ChildId, sent: Result<(), ChannelError>) {
        match sent {
            // A monitor that has ended is reaped soon.
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => self.banish(id, &error),
        }
    }

    /// Kills a child that broke the rules of its channel, or does not read it.
    pub(crate) fn banish(&mut self, id: ChildId, error: &dyn Display) {
        if let Some(child) = self.children.get(id) {
            child.disconnect(&self.starter.events);
            child.process().banish(error, &mut self.log);
        }
    }

    /// Tells the sessions of a monitor. A monitor whose sessions do not read is killed.
    pub(crate) fn tell_sessions(&mut self, id: ChildId, message: &SupervisorToSessions) {
        let monitor = self.children.monitors.get(&id);
        let sent = monitor.map_or(Ok(()), |monitor| send(&monitor.sessions, message, &[]));
        self.banish_if(id, sent);
    }

    /// Gives the auth of the newer monitor two channels, to the older monitor and to its sessions:
    /// the fronts of the older one ask that auth. With `retire`, the newer monitor takes over.
    pub(crate) fn connect(&mut self, newer: ChildId, older: ChildId, retire: bool) {
        let pairs = socket_pair().and_then(|first| Ok((first, socket_pair()?)));
        let ((newer_end, older_end), (grants, granted)) = match pairs {
            Ok(pairs) => pairs,
            Err(errno) => {
                let text = "failures and last logins are not handed over to the new auth";
                return self.log.write(Level::Error, text, &[("error", &errno)]);
            }
        };
        let told = if retire {
            SupervisorToMonitor::Retire
        } else {
            SupervisorToMonitor::NewerAuth
        };
        let message = SupervisorToMonitor::OlderMonitor;
        self.tell(newer, &message, &[newer_end, grants]);
        self.tell(older, &told, &[older_end, granted]);
    }

    /// Starts a monitor with this configuration.
    pub(crate) fn rise(&mut self, config: Rc<Config>) -> Result<(), String> {
        let failed = |error: ChannelError| format!("popward-monitor not started: {error}");
        let lines = self.lines().and_then(|first| Ok([first, self.lines()?]));
        let lines = lines.map_err(failed)?;
        let start = Start {
            version: VERSION,
            first_front: FrontId(self.started.wrapping_mul(FRONTS_MAX).wrapping_add(1)),
            trial: false,
            oldest: self.children.monitors.is_empty(),
            connections_before: config.connections_before,
            common: config.settings.common.clone(),
        };
        self.started = self.started.wrapping_add(1);
        let start = (start, self.current.is_none());
        let monitor = Monitor::start(&mut self.starter, config, start, &self.listeners, &lines);
        let monitor = monitor.map_err(failed)?;
        let id = monitor.child.id();
        self.children.monitors.insert(id, monitor);
        self.next = Some(Next {
            id,
            until: Instant::now() + RISE,
            ready: false,
        });
        Ok(())
    }

    /// The end of a channel for lines. Without a popward-log, nobody has its other end.
    fn lines(&self) -> Result<OwnedFd, ChannelError> {
        match &self.children.log {
            Some(log) => log.writer(),
            None => Ok(socket_pair().map_err(ChannelError::System)?.0),
        }
    }

    /// Starts popward-log, and gives all processes with lines a channel to it.
    pub(crate) fn start_log(&mut self) -> Result<(), ChannelError> {
        let log = LogProcess::start(&mut self.starter, &self.config.settings)?;
        self.children.log = Some(log);
        self.log.connect(self.lines()?);
        for id in self.monitors() {
            let ends = [self.lines()?, self.lines()?];
            self.tell(id, &SupervisorToMonitor::Log, &ends);
        }
        Ok(())
    }

    /// Starts popward-config.
    pub(crate) fn read(&mut self) -> Result<(), String> {
        let reading = Reading::start(&mut self.starter, &self.path, false)?;
        self.children.reading = Some(reading);
        Ok(())
    }

    /// Closes the channels of all monitors, so that they end.
    pub(crate) fn dismiss_all(&mut self) {
        self.stage = Stage::Ending;
        for monitor in self.children.monitors.values_mut() {
            monitor.child.disconnect(&self.starter.events);
        }
    }

    /// Starts a process again after a wait. `life` is how long the last one lived.
    pub(crate) fn again_later(&mut self, role: Role, life: Duration) {
        let wait = self.back_off.entry(role).or_default().after(life);
        self.due.insert(role, Instant::now() + wait);
    }
}
