//! The monitor's state, and what its other files share: whom it knows, whom it tells what, and how
//! a child that breaks the rules ends.

use crate::config::Config;
use crate::parts::{AuthChannel, Fault, Front, Listener, Parts, introduce_to_auth, serves};
use nix::errno::Errno;
use popward_parent::connected_child::{AnyChild, ConnectedChild};
use popward_parent::events::ChildId;
use popward_parent::log::LogWriter;
use popward_parent::process::{BackOff, Process, Starter, send};
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::monitor_front::MonitorToFront;
use popward_proto::monitor_sessions::MonitorToSessions;
use popward_proto::supervisor_monitor::{
    FRONTS_MAX, MonitorToSupervisor, SupervisorToMonitor, Why,
};
use popward_sys::channel::{Channel, ChannelError};
use popward_sys::log_rate_limit::LogRateLimit;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The channel to the supervisor.
pub(crate) type Supervisor = Channel<MonitorToSupervisor, SupervisorToMonitor>;

/// Tells the supervisor that this monitor can serve.
const READY: MonitorToSupervisor = MonitorToSupervisor::Ready { version: VERSION };

/// How long children have, after their channels were closed, to end by themselves.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Where a monitor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The parts start. They must be able to serve by then.
    Rising(Instant),
    /// The parts serve, or are started again.
    Serving,
    /// A newer monitor's fronts accept. The sessions of this one go on to their ends.
    Retired,
    /// The server ends. Connections that are there may log in, and all sessions have until then.
    Draining(Instant),
    /// All channels are closed. What still runs then is killed.
    Ending(Instant),
}

/// A monitor.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) config: Config,
    pub(crate) supervisor: Supervisor,
    pub(crate) log: LogWriter,
    pub(crate) starter: Starter,
    /// After `Retire` or `Drain`: the last session has ended.
    pub(crate) sessions_drained: bool,
    pub(crate) stage: Stage,
    /// How long the parts may take until they can serve.
    pub(crate) rise: Duration,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) parts: Parts,
    /// Whether fronts accept.
    pub(crate) accepting: bool,
    /// The auths of newer monitors. The last one is asked about new logins, and those before still
    /// decide some.
    pub(crate) newer_auths: BTreeMap<ChildId, AuthChannel>,
    /// There is no older monitor.
    pub(crate) oldest: bool,
    /// Its auth has handed over and decided all logins, and none of them waits for a session.
    pub(crate) auth_drained: bool,
    /// Until when its auth may take to hand over what it remembers, after `Retire`.
    pub(crate) hands_over_until: Option<Instant>,
    /// Processes without a channel to the monitor, and when they are killed: those of conversations,
    /// and others whose channels are closed.
    pub(crate) leaving: BTreeMap<ChildId, (Instant, Process)>,
    pub(crate) first_front: FrontId,
    /// How many fronts were started.
    fronts_started: u32,
    back_off: BTreeMap<Role, BackOff>,
    /// Which parts are to be started again, and when.
    pub(crate) due: Vec<(Instant, Role)>,
    /// Of which conversations' processes the log said that one died or was not started.
    pub(crate) of_conversations: LogRateLimit<Role>,
}

impl Monitor {
    pub(crate) fn new(
        config: Config,
        supervisor: Supervisor,
        log: LogWriter,
        starter: Starter,
    ) -> Self {
        Self {
            config,
            supervisor,
            log,
            starter,
            sessions_drained: false,
            stage: Stage::Serving,
            rise: Duration::ZERO,
            listeners: Vec::new(),
            parts: Parts::default(),
            accepting: false,
            newer_auths: BTreeMap::new(),
            oldest: true,
            auth_drained: false,
            hands_over_until: None,
            leaving: BTreeMap::new(),
            first_front: FrontId(1),
            fronts_started: 0,
            back_off: BTreeMap::new(),
            due: Vec::new(),
            of_conversations: LogRateLimit::default(),
        }
    }

    /// Whether logins can begin.
    pub(crate) fn serves(&self) -> bool {
        matches!(
            self.stage,
            Stage::Serving | Stage::Retired | Stage::Draining(_)
        )
    }

    /// The process of this number.
    pub(crate) fn process(&mut self, id: ChildId) -> Option<&mut Process> {
        let leaving = self.leaving.get_mut(&id).map(|(_, process)| process);
        leaving.or_else(|| self.parts.get(id).map(AnyChild::process))
    }

    /// The front of this number, if its channel is open.
    pub(crate) fn front(&self, wanted: FrontId) -> Option<&Front> {
        let mut fronts = self.parts.fronts.values();
        fronts.find(|front| front.number == wanted && front.part.channel.is_some())
    }

    /// Tells the supervisor. Returns whether it takes the message. If the supervisor has ended, the
    /// monitor sees that soon.
    pub(crate) fn tell(&self, message: &MonitorToSupervisor) -> bool {
        send(&self.supervisor, message, &[]).is_ok()
    }

    /// Tells sessions.
    pub(crate) fn tell_sessions(&mut self, message: &MonitorToSessions, files: &[BorrowedFd<'_>]) {
        let sessions = self.parts.sessions.as_ref();
        let sent = sessions.map(|sessions| (sessions.id(), sessions.send(message, files)));
        if let Some((id, Err(error))) = sent {
            self.banish(id, &error);
        }
    }

    /// Tells all fronts.
    pub(crate) fn tell_fronts(&mut self, message: &MonitorToFront) {
        let fronts = self.parts.fronts.values();
        let told = fronts.map(|front| (front.part.id(), front.part.send(message, &[])));
        let faults: Vec<Fault> = told
            .filter_map(|(id, sent)| Some((id, sent.err()?)))
            .collect();
        self.banish_all(faults);
    }

    /// Tells one front, if there is one.
    pub(crate) fn tell_front(&mut self, front: FrontId, message: &MonitorToFront) {
        let Some(front) = self.front(front) else {
            return;
        };
        match (front.part.id(), front.part.send(message, &[])) {
            (_, Ok(()) | Err(ChannelError::Closed)) => {}
            (id, Err(error)) => self.banish(id, &error),
        }
    }

    /// Ends a child that broke the rules of its channel, or does not read it.
    pub(crate) fn banish(&mut self, id: ChildId, error: &dyn Display) {
        if let Some(part) = self.parts.get(id) {
            part.disconnect(&self.starter.events);
            part.process().banish(error, &mut self.log);
        }
    }

    pub(crate) fn banish_all(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for (id, error) in faults {
            self.banish(id, &error);
        }
    }

    /// Starts a part that does not run.
    pub(crate) fn start_part(&mut self, role: Role) {
        if role == Role::Front && self.fronts_started >= FRONTS_MAX {
            // The numbers beyond belong to another monitor. The supervisor starts one.
            let text = "too many fronts have died: this monitor ends";
            self.log.write(Level::Error, text, &[]);
            return self.end(FAREWELL);
        }
        let (config, starter) = (&self.config, &mut self.starter);
        let started = match role {
            Role::Auth if self.parts.auth.is_none() => self.parts.start_auth(config, starter),
            Role::Keys if self.parts.keys.is_none() => self.parts.start_keys(config, starter),
            Role::Front if self.parts.fronts.len() < config.base.fronts as usize => {
                let next = self.first_front.0.saturating_add(self.fronts_started);
                let (first, listeners) = (self.fronts_started == 0, &self.listeners);
                self.fronts_started += 1;
                let number = (FrontId(next), !first);
                self.parts.start_front(config, starter, number, listeners)
            }
            _ => return,
        };
        let rises = matches!(self.stage, Stage::Rising(_));
        // A child that is gone already is not at fault. Its end says why.
        let started = started.map(|fault| fault.filter(|fault| fault.1 != ChannelError::Closed));
        match started {
            Ok(Some((_, error))) if rises => {
                self.not_risen(&format_args!("{}: {error}", role.name()));
            }
            Ok(fault) => {
                self.banish_all(fault);
                if role == Role::Auth && !rises {
                    self.tell(&MonitorToSupervisor::NewAuth);
                }
            }
            Err(errno) => {
                self.log_not_started(role, errno);
                if rises {
                    let name = role.name();
                    return self.not_risen(&format_args!("popward-{name} not started: {errno}"));
                }
                self.again_later(role, Duration::ZERO);
            }
        }
    }

    pub(crate) fn log_not_started(&mut self, role: Role, errno: Errno) {
        let fields: &[(&str, &dyn Display)] = &[("process", &role.name()), ("error", &errno)];
        self.log.write(Level::Error, "not started", fields);
    }

    /// Starts a part again after a wait. `life` is how long the last one lived.
    pub(crate) fn again_later(&mut self, role: Role, life: Duration) {
        if self.stage == Stage::Serving {
            let wait = self.back_off.entry(role).or_default().after(life);
            self.due.push((Instant::now() + wait, role));
        }
    }

    /// A part has said something: the next step of the start may be due.
    pub(crate) fn advance(&mut self) {
        if !matches!(self.stage, Stage::Rising(_)) {
            return;
        }
        let Some(sessions) = &self.parts.sessions else {
            // Auth has said it, which is all that a trial is for.
            self.tell(&READY);
            return self.end(Duration::ZERO);
        };
        if self.parts.are_ready(&self.config) {
            self.stage = Stage::Serving;
            self.tell(&READY);
        } else if self.parts.ids().is_empty() && serves(sessions) {
            // Sessions has sent the root directory of keys.
            self.start_part(Role::Keys);
            self.start_part(Role::Auth);
        } else if self.parts.have_what_fronts_need(&self.config) && self.parts.fronts.is_empty() {
            for _ in 0..self.config.base.fronts {
                self.start_part(Role::Front);
            }
        }
    }

    /// The parts cannot serve with this configuration, so the monitor ends.
    pub(crate) fn not_risen(&mut self, why: &dyn Display) {
        let why = Why::truncated(&why.to_string());
        self.tell(&MonitorToSupervisor::Unusable(why));
        self.end(Duration::ZERO);
    }

    /// The fronts ask the auth `newest` about new logins.
    pub(crate) fn introduce_fronts(&mut self, newest: ChildId) {
        let channel = self.newer_auths.get(&newest);
        let channel = channel.map(|channel| (newest, channel));
        let fronts = self.parts.fronts.values();
        let faults = fronts.filter_map(|front| introduce_to_auth(front, channel));
        let faults: Vec<Fault> = faults.collect();
        self.banish_all(faults);
    }

    /// Lets a process end whose channel is closed. If it takes longer than `time`, it is killed.
    pub(crate) fn dismiss(&mut self, id: ChildId, time: Duration) {
        if let Some(process) = self.parts.take(id, &self.starter.events) {
            self.leaving.insert(id, (Instant::now() + time, process));
        }
    }

    /// Ends the parts that have nothing left to do, once no client is accepted any more.
    pub(crate) fn tidy(&mut self) {
        if !matches!(self.stage, Stage::Retired | Stage::Draining(_)) {
            return;
        }
        let fronts = self.parts.fronts.values();
        let drained = fronts.filter(|front| front.drained);
        for id in drained.map(|front| front.part.id()).collect::<Vec<_>>() {
            self.dismiss(id, FAREWELL);
        }
        let no_fronts = self.parts.fronts.is_empty();
        let keys = self.parts.keys.as_ref().map(ConnectedChild::id);
        // Auth also finishes logins of fronts of older monitors. It says itself when it has handed
        // over and decided all of them. An auth that hangs does not.
        let now = Instant::now();
        let late = self.hands_over_until.is_none_or(|until| until <= now);
        let hangs = late && no_fronts && self.oldest;
        let auth = self.parts.auth.as_ref().map(ConnectedChild::id);
        let auth = auth.filter(|_| self.auth_drained || hangs);
        for id in keys.filter(|_| no_fronts).into_iter().chain(auth) {
            self.dismiss(id, FAREWELL);
        }
    }

    /// Closes all channels. Every child ends by itself.
    pub(crate) fn end(&mut self, time: Duration) {
        self.stage = Stage::Ending(Instant::now() + FAREWELL);
        self.due.clear();
        self.listeners.clear();
        self.newer_auths.clear();
        for id in self.parts.ids() {
            self.dismiss(id, time);
        }
        let soon = Instant::now() + FAREWELL;
        for (until, _) in self.leaving.values_mut() {
            *until = soon.min(*until);
        }
        // It ends when all workers have ended. An update takes as long as the disk does.
        if let Some(sessions) = &mut self.parts.sessions {
            sessions.disconnect(&self.starter.events);
        }
    }
}
