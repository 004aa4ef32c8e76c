//! The monitor's life after the start: its loop, its stages, and what is due when.

mod end;
mod furnish;
mod hear;
mod read;
mod serve;

use crate::children::{self, BackOff, Front, Link, Nursery, Process, Role};
use crate::config::Config;
use crate::events::{ChildId, Event, Events};
use crate::listeners::Listener;
use crate::log::Log;
use crate::outcome::Outcomes;
use crate::sessions;
use crate::setup::StartError;
use crate::state::StateRoot;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use popward_proto::VERSION;
use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::bounded::UserName;
use popward_proto::keys::KeyId;
use popward_proto::log::Level;
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_worker::{NOT_FINISHED, NOT_OPENED, Task, WorkerToMonitor};
use popward_sys::channel::{ChannelError, Packet, PacketBuffer, socket_pair};
use popward_sys::log_rate_limit::LogRateLimit;
use std::collections::{BTreeMap, VecDeque};
use std::mem::Discriminant;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most packets that are read of one descriptor before the others have their turn.
const TURN: usize = 64;

/// How long children have, after their channels were closed, to end by themselves.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long auth may take to say whether it can use its settings: it reads its lists meanwhile.
const ANSWER: Duration = Duration::from_secs(10);

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until every role was ready once: what fails now ends the start.
    Starting,
    Serving,
    /// No new sessions; the running ones have until then.
    Draining(Instant),
    /// All channels are closed; what is left then is killed.
    Ending(Instant),
}

/// The server.
#[derive(Debug)]
pub(crate) struct Monitor {
    config: Config,
    /// The settings that auth was given and has not answered for, the oldest first: those of a configuration that is taken when
    /// it can use them, or (`None`) of the one in force. Each with the time by which it must have answered for the former.
    asked: VecDeque<(Instant, Option<Config>)>,
    outcomes: Outcomes,
    /// A SIGHUP came that no reload has begun for.
    wanted: bool,
    /// The popward-config that reads for a reload, and by when it must have done it.
    reading: Option<(Instant, ChildId)>,
    /// Who was said to get no worker, and why.
    said: LogRateLimit<(UserName, Discriminant<sessions::NoWorker>)>,
    log: Log,
    events: Events,
    listeners: Vec<Listener>,
    state: StateRoot,
    nursery: Nursery,
    processes: BTreeMap<ChildId, Process>,
    next_child: u32,
    next_front: u32,
    /// What is known of each loaded key.
    keys: BTreeMap<u16, KeyFacts>,
    /// How many key files keys has not answered for yet: fronts get certificates when all their keys are new.
    keys_due: usize,
    /// The number of the first key: a reload's are loaded beside those that fronts still use.
    first_key: u16,
    /// Keys or a front cannot use the certificates that were last given: fronts still have those before.
    refused: bool,
    back_off: BTreeMap<&'static str, BackOff>,
    /// What is to be started again, and when.
    due: Vec<(Instant, Role)>,
    /// Whose update was broken off, or whose dotlock was left, before the start.
    to_tend: Vec<Account>,
    tended: u32,
    stage: Stage,
    buffer: PacketBuffer,
    failure: Option<StartError>,
}

impl Monitor {
    pub(crate) fn new(
        config: Config,
        log: Log,
        events: Events,
        listeners: Vec<Listener>,
        state: StateRoot,
        nursery: Nursery,
        to_tend: Vec<Account>,
    ) -> Self {
        let outcomes = Outcomes::new(config.path.clone());
        Self {
            config,
            asked: VecDeque::new(),
            outcomes,
            wanted: false,
            reading: None,
            said: LogRateLimit::default(),
            log,
            events,
            listeners,
            state,
            nursery,
            processes: BTreeMap::new(),
            next_child: 1,
            next_front: 1,
            keys: BTreeMap::new(),
            keys_due: 0,
            first_key: 0,
            refused: false,
            back_off: BTreeMap::new(),
            due: Vec::new(),
            to_tend,
            tended: 0,
            stage: Stage::Starting,
            buffer: PacketBuffer::for_messages(),
            failure: None,
        }
    }

    /// Runs until SIGTERM, or until the start has failed.
    pub(crate) fn run(&mut self) -> Result<(), StartError> {
        self.noted(self.outcomes.start());
        self.start_role(Role::Keys);
        self.start_role(Role::Auth);
        loop {
            let events = self
                .events
                .wait(self.patience())
                .map_err(|errno| StartError::System("epoll_wait", errno))?;
            // Records first: what a process said comes before what became of it.
            for event in &events {
                if let Event::Log(child) = event {
                    self.read_log(*child);
                }
            }
            for event in events {
                match event {
                    Event::Log(_) => {}
                    Event::Signal => self.signals(),
                    Event::Control(child) => self.read_control(child),
                    Event::Ended(child) => self.ended(child),
                }
            }
            self.start_due();
            self.await_reader();
            self.await_auth();
            if self.is_over() {
                return self.failure.take().map_or(Ok(()), Err);
            }
        }
    }

    fn patience(&self) -> Duration {
        let deadline = match self.stage {
            Stage::Draining(until) | Stage::Ending(until) => Some(until),
            Stage::Starting | Stage::Serving => None,
        };
        let due = self.due.iter().map(|(at, _)| *at);
        let read = self.reading.map(|(until, _)| until);
        let all = due.chain(deadline).chain(self.answer_due()).chain(read);
        let next = all.min();
        next.map_or(Duration::from_secs(60), |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    /// At the start: everything that a front needs is there, so the fronts are started; they are ready, so all is.
    fn advance(&mut self) {
        if self.stage != Stage::Starting {
            return;
        }
        let ready = |wanted: Role| {
            self.processes.values().any(|process| {
                let link = process.link.as_ref();
                process.role == wanted
                    && matches!(
                        link,
                        Some(Link::Auth { ready: true, .. } | Link::Keys { ready: true, .. })
                    )
            })
        };
        if !ready(Role::Auth)
            || !ready(Role::Keys)
            || self.keys.len() < self.config.certificates.len()
        {
            return;
        }
        let fronts = self.fronts();
        if fronts.is_empty() {
            for place in 0..self.config.fronts {
                self.start_role(Role::Front(place));
            }
            return;
        }
        let all = fronts
            .iter()
            .all(|id| matches!(self.link(*id), Some(Link::Front(f)) if f.ready));
        if all && fronts.len() == self.config.fronts as usize {
            self.stage = Stage::Serving;
            self.log.write(
                Level::Notice,
                "ready",
                &[("version", &env!("CARGO_PKG_VERSION"))],
            );
            let noted = self.outcomes.done();
            self.noted(noted);
            self.reload_if_wanted();
            self.tend();
        }
    }

    /// During the start, a failure is the end of it.
    fn fail(&mut self, error: StartError) {
        if self.stage == Stage::Starting && self.failure.is_none() {
            self.failure = Some(error);
            self.end();
        }
    }

    fn again_later(&mut self, role: Role, life: Duration) {
        if role != Role::Worker && self.stage == Stage::Serving {
            let wait = self.back_off.entry(role.name()).or_default().after(life);
            self.due.push((Instant::now() + wait, role));
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Role> = self
            .due
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, r)| *r)
            .collect();
        self.due.retain(|(at, _)| *at > now);
        for role in due {
            self.start_role(role);
        }
    }
}
