//! The supervisor's state, and how processes start: monitors, popward-config and popward-log.

use crate::claims::Claims;
use crate::config::{Config, Draft, FromConfig};
use crate::listeners::Listener;
use crate::log_process::LogProcess;
use crate::monitors::{self, Monitor};
use crate::outcome::Outcomes;
use crate::reader;
use nix::sys::signalfd::SignalFd;
use popward_parent::events::{ChildId, Events};
use popward_parent::log::LogWriter;
use popward_parent::process::{BackOff, Launcher, Process, send};
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
    /// The server ends. There are no new sessions, and the monitors end with their last ones.
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

/// A running popward-config, and what it has said so far.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) id: ChildId,
    pub(crate) process: Process,
    pub(crate) channel: FromConfig,
    pub(crate) draft: Draft,
    /// By when it must have said everything. `None`: what it says does not matter any more.
    pub(crate) until: Option<Instant>,
}

/// The supervisor.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// The configuration in use.
    pub(crate) config: Rc<Config>,
    pub(crate) launcher: Launcher,
    pub(crate) events: Events,
    pub(crate) signals: SignalFd,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) log: LogWriter,
    pub(crate) log_process: Option<LogProcess>,
    pub(crate) stage: Stage,
    /// All monitors, the oldest first.
    pub(crate) monitors: BTreeMap<ChildId, Monitor>,
    /// The monitor whose fronts accept.
    pub(crate) current: Option<ChildId>,
    /// The monitor that is to take its place.
    pub(crate) next: Option<Next>,
    pub(crate) reading: Option<Reading>,
    pub(crate) claims: Claims,
    pub(crate) outcomes: Outcomes,
    /// A reload is wanted that has not begun.
    pub(crate) wanted: bool,
    /// The log says that a reload waits.
    pub(crate) waits: bool,
    /// How many monitors were started.
    started: u32,
    back_off: BTreeMap<Role, BackOff>,
    /// What is to be started again, and when.
    pub(crate) due: BTreeMap<Role, Instant>,
    pub(crate) failure: Option<String>,
}

impl Supervisor {
    pub(crate) fn new(
        config: Config,
        launcher: Launcher,
        (events, signals): (Events, SignalFd),
        listeners: Vec<Listener>,
    ) -> Self {
        Self {
            outcomes: Outcomes::new(config.path.clone()),
            log: LogWriter::new(Role::Supervisor, config.settings.common.log_level),
            config: Rc::new(config),
            launcher,
            events,
            signals,
            listeners,
            log_process: None,
            stage: Stage::Starting,
            monitors: BTreeMap::new(),
            current: None,
            next: None,
            reading: None,
            claims: Claims::default(),
            wanted: false,
            waits: false,
            started: 0,
            back_off: BTreeMap::new(),
            due: BTreeMap::new(),
            failure: None,
        }
    }

    /// The process of this number.
    pub(crate) fn process(&mut self, id: ChildId) -> Option<&mut Process> {
        let monitor = self.monitors.get_mut(&id);
        let monitor = monitor.map(|monitor| &mut monitor.process);
        let reading = self.reading.as_mut().filter(|reading| reading.id == id);
        let log = self.log_process.as_mut().filter(|log| log.id == id);
        monitor
            .or(reading.map(|reading| &mut reading.process))
            .or(log.map(|log| &mut log.process))
    }

    /// The monitors that serve their last connections, the oldest first.
    pub(crate) fn old(&self) -> Vec<ChildId> {
        let new = [self.current, self.next.map(|next| next.id)];
        let ids = self.monitors.keys().copied();
        ids.filter(|id| !new.contains(&Some(*id))).collect()
    }

    /// Whether the monitor of this number is the next one, and can serve or cannot yet.
    pub(crate) fn next_is(&self, id: ChildId, ready: bool) -> bool {
        let is = |next: Next| (next.id, next.ready) == (id, ready);
        self.next.is_some_and(is)
    }

    /// Tells a monitor. One that does not read is killed.
    pub(crate) fn tell(&mut self, id: ChildId, message: &SupervisorToMonitor) {
        let monitor = self.monitors.get(&id);
        let sent = monitor.map_or(Ok(()), |monitor| monitor.send(message, &[]));
        self.banish_if(id, sent);
    }

    pub(crate) fn banish_if(&mut self, id: ChildId, sent: Result<(), ChannelError>) {
        match sent {
            // A monitor that has ended is reaped soon.
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => self.banish(id, &error),
        }
    }

    /// Kills a child that broke the rules of its channel, or does not read it.
    pub(crate) fn banish(&mut self, id: ChildId, error: &dyn Display) {
        if let Some(monitor) = self.monitors.get_mut(&id) {
            monitor.dismiss(&self.events);
        }
        let Some(process) = self.process(id) else {
            return;
        };
        process.kill();
        let origin = process.origin();
        let fields: &[(&str, &dyn Display)] = &[
            ("process", &origin.role.name()),
            ("pid", &origin.pid),
            ("error", error),
        ];
        let text = "broke the rules of its channel: killed";
        self.log.write(Level::Error, text, fields);
    }

    /// Tells the sessions of a monitor. A monitor whose sessions do not read is killed.
    pub(crate) fn tell_sessions(&mut self, id: ChildId, message: &SupervisorToSessions) {
        let monitor = self.monitors.get(&id);
        let sent = monitor.map_or(Ok(()), |monitor| send(&monitor.sessions.1, message, &[]));
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
        for (id, message, ends) in [
            (
                newer,
                SupervisorToMonitor::OlderMonitor,
                [newer_end, grants],
            ),
            (older, told, [older_end, granted]),
        ] {
            let monitor = self.monitors.get(&id);
            let ends = ends.each_ref().map(AsFd::as_fd);
            let sent = monitor.map_or(Ok(()), |monitor| monitor.send(&message, &ends));
            self.banish_if(id, sent);
        }
    }

    /// Starts a monitor with this configuration.
    pub(crate) fn rise(&mut self, config: Rc<Config>) -> Result<(), String> {
        let failed = |error: ChannelError| format!("popward-monitor not started: {error}");
        let lines = self.lines().and_then(|first| Ok([first, self.lines()?]));
        let lines = lines.map_err(failed)?;
        let oldest = self.monitors.is_empty();
        let start = Start {
            version: VERSION,
            first_front: FrontId(self.started.wrapping_mul(FRONTS_MAX).wrapping_add(1)),
            trial: false,
            oldest,
            connections_before: config.connections_before,
            common: config.settings.common.clone(),
        };
        self.started = self.started.wrapping_add(1);
        let (launcher, listeners) = (&mut self.launcher, &self.listeners);
        let start = (start, self.current.is_none());
        let launched = monitors::launch(launcher, &config, start, listeners, &lines);
        let watched = launched.and_then(|launched| {
            let events = &mut self.events;
            monitors::watch(events, launched, config, oldest)
        });
        let (id, monitor) = watched.map_err(failed)?;
        self.monitors.insert(id, monitor);
        self.next = Some(Next {
            id,
            until: Instant::now() + RISE,
            ready: false,
        });
        Ok(())
    }

    /// The end of a channel for lines. Without a popward-log, nobody has its other end.
    fn lines(&self) -> Result<OwnedFd, ChannelError> {
        match &self.log_process {
            Some(log) => log.writer(),
            None => Ok(socket_pair().map_err(ChannelError::System)?.0),
        }
    }

    /// Starts popward-log, and gives all processes with lines a channel to it.
    pub(crate) fn start_log(&mut self) -> Result<(), ChannelError> {
        let (settings, launcher) = (&self.config.settings, &mut self.launcher);
        let log = LogProcess::start(launcher, &mut self.events, settings)?;
        self.log.connect(log.writer()?);
        let mut told = Vec::new();
        for (id, monitor) in &self.monitors {
            let (own, of_sessions) = (log.writer()?, log.writer()?);
            let ends = [own.as_fd(), of_sessions.as_fd()];
            let sent = monitor.send(&SupervisorToMonitor::Log, &ends);
            told.push((*id, sent));
        }
        self.log_process = Some(log);
        for (id, sent) in told {
            self.banish_if(id, sent);
        }
        Ok(())
    }

    /// Starts popward-config.
    pub(crate) fn read(&mut self) -> Result<(), String> {
        let path = &self.config.path;
        let reader = reader::start(&mut self.launcher, path, false)?;
        let (id, whose) = (self.events.next_id(), (Role::Config, None));
        let (child, channel) = ((reader.child, None), reader.channel);
        let process = Process::watch(&self.events, id, whose, child, Some(channel.as_fd()));
        self.reading = Some(Reading {
            id,
            process: process.map_err(|errno| errno.to_string())?,
            channel,
            draft: Draft::of(path),
            until: Some(Instant::now() + reader::PATIENCE),
        });
        Ok(())
    }

    /// Closes the channels of all monitors, so that they end.
    pub(crate) fn dismiss_all(&mut self) {
        self.stage = Stage::Ending;
        for monitor in self.monitors.values_mut() {
            monitor.dismiss(&self.events);
        }
    }

    /// Starts a process again after a wait. `life` is how long the last one lived.
    pub(crate) fn again_later(&mut self, role: Role, life: Duration) {
        let wait = self.back_off.entry(role).or_default().after(life);
        self.due.insert(role, Instant::now() + wait);
    }
}
