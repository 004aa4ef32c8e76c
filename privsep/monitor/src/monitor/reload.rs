//! The start and reloads. popward-config reads the configuration. The monitor starts a generation of processes
//! with it, beside the one in use. When all of them can serve, the new generation takes over. A failure before
//! that changes nothing.

use super::{
    ChildId, Duration, FAREWELL, Generation, Instant, Level, Log, Monitor, MonitorToAuth,
    MonitorToFront, Process, Rc, Reading, Role, Stage, StartError, WaitStatus, socket_pair,
};
use crate::config::{Config, Draft};
use crate::reader;
use std::fmt::Display;
use std::os::fd::AsFd;

/// How long a generation may take until it can serve.
const RISE: Duration = Duration::from_secs(30);

/// How long an old auth may take to hand over what it remembers. The new auth waits as long.
const HANDOVER: Duration = Duration::from_secs(10);

/// Most generations that serve their last connections at once. A reload beyond waits.
const OLD_MAX: usize = 2;

impl Monitor {
    /// Begins a reload, unless one is under way. Then one more begins after it, for any number of signals.
    pub(super) fn reload_if_wanted(&mut self) {
        while self.wanted
            && self.stage == Stage::Serving
            && self.reading.is_none()
            && self.rising.is_none()
        {
            if self.old.len() >= OLD_MAX {
                if std::mem::replace(&mut self.waits, true) {
                    return;
                }
                let text = "reload waits for the last connections of an earlier configuration";
                self.log.write(Level::Warning, text, &[]);
                let noted = self.outcomes.waits(text);
                return self.noted(noted);
            }
            (self.wanted, self.waits) = (false, false);
            self.reload();
        }
    }

    /// Has popward-config read the configuration.
    fn reload(&mut self) {
        let noted = self.outcomes.reload();
        self.noted(noted);
        if let Err(error) = self.read() {
            self.not_reloaded(&error);
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let path = &self.config.path;
        let reader = reader::start(&mut self.starter.nursery.spawner, path)?;
        let id = self.starter.next_id();
        let channel = reader.channel;
        let child = (Role::Config, reader.child, reader.log);
        let process = Process::adopt(&self.starter.events, id, child, channel.as_fd());
        let process = process.map_err(|errno| errno.to_string())?;
        let until = Some(Instant::now() + reader::PATIENCE);
        let draft = Draft::of(path);
        let reading = Reading {
            process,
            channel,
            draft,
            until,
        };
        self.reading = Some((id, reading));
        Ok(())
    }

    /// popward-config has read all of it, or says why it cannot be used.
    pub(super) fn was_read(&mut self, read: Result<Box<Config>, String>) {
        let Some((_, reading)) = &mut self.reading else {
            return;
        };
        if reading.until.take().is_none() {
            return;
        }
        let warnings = std::mem::take(&mut reading.draft.warnings);
        self.log.warn_of_configuration(&warnings);
        match read {
            Err(why) => self.not_reloaded(&why),
            Ok(mut config) => {
                let now = &self.config;
                if (&config.listen, &config.state) != (&now.listen, &now.state) {
                    let text =
                        "listen and server.state are read at the start only: restart for them";
                    self.log.write(Level::Warning, text, &[]);
                }
                config.listen.clone_from(&now.listen);
                config.state.clone_from(&now.state);
                self.rise(Rc::new(*config));
            }
        }
    }

    /// A popward-config has ended. Returns whether it should not have: it had not said everything.
    pub(super) fn reader_ended(&mut self, reading: &Reading, status: WaitStatus) -> bool {
        let early = reading.until.is_some();
        if early {
            self.not_reloaded(&reader::gone(Ok(status)));
        }
        early
    }

    /// Starts a generation. Its fronts follow when auth and keys can serve.
    pub(super) fn rise(&mut self, config: Rc<Config>) {
        let generation = Generation::new(config);
        self.rising = Some((Instant::now() + RISE, generation));
        self.start_rising(Role::Keys);
        self.start_rising(Role::Auth);
    }

    fn start_rising(&mut self, role: Role) {
        let Some((_, rising)) = &mut self.rising else {
            return;
        };
        match rising.start(role, &mut self.starter) {
            Ok(None) => {}
            Ok(Some((_, error))) => self.not_risen(&format_args!("{}: {error}", role.name())),
            Err(errno) => {
                self.log_not_started(role, errno);
                self.not_risen(&format_args!("{} not started: {errno}", role.executable()));
            }
        }
    }

    /// A part of the rising generation has said something: the next step may be due.
    pub(super) fn advance(&mut self) {
        let Some((_, rising)) = &self.rising else {
            return;
        };
        if rising.is_ready() {
            self.switch();
        } else if rising.has_what_fronts_need() && rising.fronts.is_empty() {
            for _ in 0..rising.config.fronts {
                self.start_rising(Role::Front);
            }
        }
    }

    /// The rising generation is of no use: it ends, and nothing has changed.
    pub(super) fn not_risen(&mut self, why: &dyn Display) {
        let Some((_, mut rising)) = self.rising.take() else {
            return;
        };
        self.dismiss_all(&mut rising, Duration::ZERO);
        if self.stage == Stage::Starting {
            self.fail(StartError::Child(why.to_string()));
        } else {
            self.not_reloaded(why);
        }
    }

    /// Nothing of a configuration is taken.
    pub(super) fn not_reloaded(&mut self, error: &dyn Display) {
        let text = "configuration not reloaded";
        self.log.write(Level::Error, text, &[("error", error)]);
        let noted = self.outcomes.failed(error);
        self.noted(noted);
    }

    /// Who waits for an outcome cannot be told of it.
    pub(super) fn noted(&mut self, noted: Result<(), String>) {
        if let Err(error) = noted {
            let text = "outcome not written for popward reload";
            self.log.write(Level::Error, text, &[("error", &error)]);
        }
    }

    /// The rising generation takes over.
    fn switch(&mut self) {
        let Some((_, rising)) = self.rising.take() else {
            return;
        };
        if self.config.log != rising.config.log {
            self.log = Log::open(rising.config.log);
        }
        self.config = Rc::clone(&rising.config);
        self.due.clear();
        self.back_off.clear();
        self.set_stall();
        let old = self.current.replace(rising);
        let is_start = old.is_none();
        if let Some(mut old) = old {
            old.hands_over_until = Some(Instant::now() + HANDOVER);
            // In this order: the new auth looks at no login before the old one has handed over.
            self.old.push(old);
            self.hand_over();
            self.introduce_old_fronts();
            let retired = self
                .old
                .last()
                .map(|old| old.fronts.keys().copied().collect());
            self.tell_fronts(retired.unwrap_or_default(), &MonitorToFront::Retire);
        }
        let new = self.current.as_ref();
        let new = new.map(|new| new.fronts.keys().copied().collect());
        self.tell_fronts(new.unwrap_or_default(), &MonitorToFront::Accept);
        if is_start {
            self.stage = Stage::Serving;
            let version = &env!("CARGO_PKG_VERSION");
            self.log
                .write(Level::Notice, "ready", &[("version", version)]);
        } else {
            self.log.write(Level::Notice, "configuration reloaded", &[]);
        }
        let noted = self.outcomes.done();
        self.noted(noted);
        if is_start {
            self.tend();
        }
        self.tidy();
    }

    /// Connections that are accepted from now on inherit it.
    fn set_stall(&mut self) {
        for listener in &self.starter.listeners {
            if let Err(error) = listener.set_stall(self.config.front.limits.stall_ms) {
                let text = "limits.stall not set for new connections";
                self.log.write(Level::Error, text, &[("error", &error)]);
            }
        }
    }

    /// Has the auth that is replaced tell the new one what it remembers.
    fn hand_over(&mut self) {
        let old = self.old.last().and_then(|old| old.auth.as_ref());
        let new = self
            .current
            .as_ref()
            .and_then(|current| current.auth.as_ref());
        let (Some((from, old)), Some((to, new))) = (old, new) else {
            return;
        };
        if old.channel.is_none() {
            return;
        }
        let fault = match socket_pair() {
            Err(errno) => {
                let text = "failures and last logins are not handed over to the new auth";
                return self.log.write(Level::Error, text, &[("error", &errno)]);
            }
            Ok((old_end, new_end)) => {
                let told = new.send(&MonitorToAuth::Predecessor, &[new_end.as_fd()]);
                let told = told.map_err(|error| (*to, error));
                let handed = || old.send(&MonitorToAuth::Successor, &[old_end.as_fd()]);
                told.and_then(|()| handed().map_err(|error| (*from, error)))
                    .err()
            }
        };
        self.banish_all(fault);
    }

    pub(super) fn tell_fronts(&mut self, fronts: Vec<ChildId>, message: &MonitorToFront) {
        for id in fronts {
            let front = self
                .generations()
                .find_map(|generation| generation.fronts.get(&id));
            if let Some(Err(error)) = front.map(|front| front.own.send(message, &[])) {
                self.banish(id, &error);
            }
        }
    }

    /// Ends the processes of older generations that have nothing left to do. Begins a reload that waited for it.
    pub(super) fn tidy(&mut self) {
        let (mut all_gone, now) = (true, Instant::now());
        for old in &mut self.old {
            let drained = old.fronts.iter().filter(|(_, front)| front.drained);
            let mut over: Vec<ChildId> = drained.map(|(id, _)| *id).collect();
            let gone = over.len() == old.fronts.len();
            all_gone &= gone;
            over.extend(old.keys.as_ref().filter(|_| gone).map(|(id, _)| *id));
            // An auth also finishes logins of fronts that are older than it. It says itself when it has handed
            // over. An auth that hangs does not.
            let late = old.hands_over_until.is_none_or(|until| until <= now);
            let ends = all_gone && late;
            over.extend(old.auth.as_ref().filter(|_| ends).map(|(id, _)| *id));
            for id in over {
                if let Some(process) = old.take(id, &self.starter.events) {
                    self.leaving.insert(id, (now + FAREWELL, process));
                }
            }
        }
        self.old.retain(|old| !old.ids().is_empty());
        self.reload_if_wanted();
    }

    /// The old auth has nothing left to do.
    pub(super) fn auth_drained(&mut self, id: ChildId) {
        let taken = self
            .old
            .iter_mut()
            .find_map(|old| old.take(id, &self.starter.events));
        self.dismiss(id, taken, FAREWELL);
        self.tidy();
    }

    /// Lets a process end whose channel is closed; what has not ended in time is killed.
    fn dismiss(&mut self, id: ChildId, process: Option<Process>, time: Duration) {
        if let Some(process) = process {
            self.leaving.insert(id, (Instant::now() + time, process));
        }
    }

    /// The same with all of a generation.
    pub(super) fn dismiss_all(&mut self, generation: &mut Generation, time: Duration) {
        for id in generation.ids() {
            let taken = generation.take(id, &self.starter.events);
            self.dismiss(id, taken, time);
        }
    }

    /// Ends what takes too long.
    pub(super) fn end_late(&mut self) {
        let now = Instant::now();
        let is_late = |until: Instant| until <= now;
        if let Some((_, reading)) = &mut self.reading {
            if reading.until.is_some_and(is_late) {
                reading.until = None;
                reading.process.kill();
                self.not_reloaded(&reader::late());
            }
        }
        if let Some((_, rising)) = self.rising.as_ref().filter(|(until, _)| is_late(*until)) {
            let (part, seconds) = (rising.late_part().name(), RISE.as_secs());
            self.not_risen(&format_args!("{part} cannot serve after {seconds} s"));
        }
        for (until, process) in self.leaving.values_mut() {
            if is_late(*until) {
                process.kill();
                *until = now + FAREWELL;
            }
        }
        self.tidy();
    }
}
