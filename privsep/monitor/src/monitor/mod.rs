//! The monitor's life after the start: its loop, its stages, and what is due when.

mod end;
mod hear;
mod reload;
mod serve;

use crate::children::{BackOff, Front, Process, Reading, Role, Worker};
use crate::config::Config;
use crate::events::{ChildId, Event};
use crate::generation::{Fault, Generation, Starter};
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
use popward_proto::log::Level;
use popward_proto::monitor_auth::MonitorToAuth;
use popward_proto::monitor_front::MonitorToFront;
use popward_proto::monitor_worker::{NO_SPOOL, NOT_FINISHED, NOT_OPENED, Task, WorkerToMonitor};
use popward_sys::channel::{ChannelError, Packet, PacketBuffer, socket_pair};
use popward_sys::log_rate_limit::LogRateLimit;
use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most packets that are read of one descriptor before the others have their turn.
const TURN: usize = 64;

/// Most packets that are read of a descriptor whose process has ended. No socket holds as many, so
/// none is lost. The bound is for a socket that the process passed on to another one before.
const REST: usize = 65_536;

/// How long children have, after their channels were closed, to end by themselves.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until the first generation is in use: what fails now ends the start.
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
    /// The configuration in use.
    config: Rc<Config>,
    starter: Starter,
    /// The generation that accepts. `None` until the start is over.
    current: Option<Generation>,
    /// The one that is to take its place, and by when it must be able to.
    rising: Option<(Instant, Generation)>,
    /// Those before, the oldest first, which serve the connections that they have to their ends.
    old: Vec<Generation>,
    /// Processes whose channels are closed, and when those that have not ended are killed.
    leaving: BTreeMap<ChildId, (Instant, Process)>,
    workers: BTreeMap<ChildId, Worker>,
    /// The popward-config that reads for a reload.
    reading: Option<(ChildId, Reading)>,
    outcomes: Outcomes,
    /// A SIGHUP came that no reload has begun for.
    wanted: bool,
    /// It was said that one has to wait.
    waits: bool,
    /// Who was said to get no worker, and why.
    said: LogRateLimit<(UserName, Discriminant<sessions::NoWorker>)>,
    log: Log,
    state: StateRoot,
    back_off: BTreeMap<Role, BackOff>,
    /// What of the current generation is to be started again, and when.
    due: Vec<(Instant, Role)>,
    /// Whose update was broken off, or whose dotlock was left, before the start.
    to_tend: Vec<Account>,
    tended: u32,
    stage: Stage,
    failure: Option<StartError>,
}

impl Monitor {
    pub(crate) fn new(
        config: Config,
        log: Log,
        starter: Starter,
        state: StateRoot,
        to_tend: Vec<Account>,
    ) -> Self {
        Self {
            outcomes: Outcomes::new(config.path.clone()),
            config: Rc::new(config),
            starter,
            current: None,
            rising: None,
            old: Vec::new(),
            leaving: BTreeMap::new(),
            workers: BTreeMap::new(),
            reading: None,
            wanted: false,
            waits: false,
            said: LogRateLimit::default(),
            log,
            state,
            back_off: BTreeMap::new(),
            due: Vec::new(),
            to_tend,
            tended: 0,
            stage: Stage::Starting,
            failure: None,
        }
    }

    /// Runs until SIGTERM, or until the start has failed.
    pub(crate) fn run(&mut self) -> Result<(), StartError> {
        let mut buffer = PacketBuffer::for_messages();
        let noted = self.outcomes.start();
        self.noted(noted);
        self.rise(Rc::clone(&self.config));
        loop {
            let events = self
                .starter
                .events
                .wait(self.patience())
                .map_err(|errno| StartError::System("epoll_wait", errno))?;
            // Records first: what a process said comes before what became of it.
            for event in &events {
                if let Event::Log(child) = event {
                    self.read_log(*child, &mut buffer, TURN);
                }
            }
            for event in events {
                match event {
                    Event::Log(_) => {}
                    Event::Signal => self.signals(),
                    Event::Control(child) => self.read_control(child, &mut buffer, TURN),
                    Event::Ended(child) => self.ended(child, &mut buffer),
                }
            }
            self.start_due();
            self.end_late();
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
        let read = self.reading.as_ref().and_then(|(_, reading)| reading.until);
        let rises = self.rising.as_ref().map(|(until, _)| *until);
        let leave = self.leaving.values().map(|(until, _)| *until);
        let hand_over = self.old.iter().filter_map(|old| old.hands_over_until);
        let hand_over = hand_over.filter(|until| *until > Instant::now());
        let all = due.chain(deadline).chain(read).chain(rises).chain(leave);
        let all = all.chain(hand_over);
        all.min().map_or(Duration::from_secs(60), |at| {
            at.saturating_duration_since(Instant::now())
        })
    }

    /// All generations, the oldest first.
    fn generations(&mut self) -> impl Iterator<Item = &mut Generation> {
        let rising = self.rising.as_mut().map(|(_, rising)| rising);
        self.old.iter_mut().chain(&mut self.current).chain(rising)
    }

    /// The front of this number, with its channel.
    fn front(&self, wanted: FrontId) -> Option<(ChildId, &Front)> {
        let rising = self.rising.as_ref().map(|(_, rising)| rising);
        let all = self.old.iter().chain(&self.current).chain(rising);
        let mut fronts = all.flat_map(|generation| &generation.fronts);
        let found = fronts.find(|(_, front)| front.id == wanted && front.own.channel.is_some());
        found.map(|(id, front)| (*id, front))
    }

    /// The process of this number.
    fn process(&mut self, id: ChildId) -> Option<&mut Process> {
        let worker = self.workers.get_mut(&id).map(|worker| &mut worker.process);
        let leaving = self.leaving.get_mut(&id).map(|(_, process)| process);
        let reading = self.reading.as_mut().filter(|(reading, _)| *reading == id);
        let reading = reading.map(|(_, reading)| &mut reading.process);
        let rising = self.rising.as_mut().map(|(_, rising)| rising);
        let mut all = self.old.iter_mut().chain(&mut self.current).chain(rising);
        let other = worker.or(leaving).or(reading);
        other.or_else(|| all.find_map(|generation| generation.process(id)))
    }

    /// During the start, a failure is the end of it.
    fn fail(&mut self, error: StartError) {
        if self.stage == Stage::Starting && self.failure.is_none() {
            self.failure = Some(error);
            self.end();
        }
    }

    /// Starts a part of the current generation in the place of one that died.
    fn start_part(&mut self, role: Role) {
        let Some(current) = &mut self.current else {
            return;
        };
        match current.start(role, &mut self.starter) {
            Ok(fault) => self.banish_all(fault),
            Err(errno) => {
                self.log_not_started(role, errno);
                return self.again_later(role, Duration::ZERO);
            }
        }
        if role == Role::Auth {
            self.introduce_old_fronts();
        }
    }

    fn log_not_started(&mut self, role: Role, errno: nix::errno::Errno) {
        let fields: &[(&str, &dyn std::fmt::Display)] =
            &[("process", &role.name()), ("error", &errno)];
        self.log.write(Level::Error, "not started", fields);
    }

    /// Fronts of older generations ask the current auth about new logins.
    fn introduce_old_fronts(&mut self) {
        let current = self
            .current
            .as_ref()
            .and_then(|current| current.auth.as_ref());
        let Some((id, auth)) = current else {
            return;
        };
        let fronts = self.old.iter().flat_map(|old| &old.fronts);
        let introduce = |front| crate::generation::introduce_auth(front, (*id, auth));
        let faults: Vec<Fault> = fronts.filter_map(introduce).collect();
        self.banish_all(faults);
    }

    fn again_later(&mut self, role: Role, life: Duration) {
        if self.stage == Stage::Serving {
            let wait = self.back_off.entry(role).or_default().after(life);
            self.due.push((Instant::now() + wait, role));
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let is_due = |(at, _): &(Instant, Role)| *at <= now;
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(is_due);
        self.due = later;
        for (_, role) in due {
            self.start_part(role);
        }
    }
}
