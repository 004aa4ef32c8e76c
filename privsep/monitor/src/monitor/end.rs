//! Signals: reload, and the two steps of the end.

use super::{
    AsFd, Config, FAREWELL, Instant, Level, Link, Log, Monitor, MonitorToFront, Process, Role,
    Signal, Stage, children,
};

/// More than there can be certificates.
const BANK: u16 = 16;

impl Monitor {
    pub(super) fn signals(&mut self) {
        for signal in self.events.signals() {
            match (signal, self.stage) {
                (Signal::SIGHUP, Stage::Starting | Stage::Serving) => {
                    self.wanted = true;
                    self.reload_if_wanted();
                }
                (Signal::SIGHUP, _) => {}
                (_, Stage::Serving) => self.drain(),
                _ => self.end(),
            }
        }
    }

    /// Begins a reload, unless one is under way: then it begins after that one. Several signals meanwhile are one.
    pub(super) fn reload_if_wanted(&mut self) {
        let busy = |(_, config): &(Instant, Option<Config>)| config.is_some();
        while self.wanted
            && self.stage == Stage::Serving
            && self.reading.is_none()
            && !self.asked.iter().any(busy)
        {
            self.wanted = false;
            self.reload();
        }
    }

    /// Nothing of a configuration is taken.
    pub(super) fn not_reloaded(&mut self, error: &dyn std::fmt::Display) {
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

    /// Auth has answered for settings that it was given, with why it cannot use them. Returns whether they were new.
    pub(super) fn auth_answered(&mut self, unusable: Option<&str>) -> bool {
        let Some((_, Some(config))) = self.asked.pop_front() else {
            return false;
        };
        match unusable {
            Some(why) => self.not_reloaded(&why),
            None => self.apply(config),
        }
        self.reload_if_wanted();
        true
    }

    /// By when auth must have answered for a configuration that is to be taken.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        let due = |(until, config): &(Instant, Option<Config>)| config.is_some().then_some(*until);
        self.asked.iter().find_map(due)
    }

    /// Ends an auth that has not answered for it in time: nothing is taken then.
    pub(super) fn await_auth(&mut self) {
        let late = self
            .answer_due()
            .is_some_and(|until| until <= Instant::now());
        let auth = self
            .processes
            .iter()
            .find(|(_, process)| process.role == Role::Auth);
        if let (true, Some((id, _))) = (late, auth) {
            let id = *id;
            self.asked.clear();
            self.not_reloaded(&"auth does not answer");
            self.reload_if_wanted();
            self.banish(id, &"it does not say whether it can use its settings");
        }
    }

    pub(super) fn apply(&mut self, config: Config) {
        let old = std::mem::replace(&mut self.config, config);
        let now = &self.config;
        if (&old.listen, old.fronts, &old.state, old.accounts)
            != (&now.listen, now.fronts, &now.state, now.accounts)
        {
            let text = "listen, server.fronts, server.state and accounts are read at the start only: restart for them";
            self.log.write(Level::Warning, text, &[]);
        }
        self.config.listen = old.listen;
        self.config.fronts = old.fronts;
        self.config.state = old.state;
        self.config.accounts = old.accounts;
        self.log = Log::open(self.config.log);
        for listener in &self.listeners {
            if let Err(error) = listener.set_stall(self.config.front.limits.stall_ms) {
                let text = "limits.stall not set for new connections";
                self.log.write(Level::Error, text, &[("error", &error)]);
            }
        }
        for front in self.fronts() {
            if let Err(error) = self.send_front_settings(front) {
                self.banish(front, &error);
            }
        }
        let keys = self
            .processes
            .iter()
            .find(|(_, p)| p.role == Role::Keys)
            .map(|(id, _)| *id);
        if let Some(keys) = keys {
            if let Some(Link::Keys { channel, .. }) = self.link(keys) {
                if let Err(error) = children::send(channel, &self.keys_settings(), &[]) {
                    self.banish(keys, &error);
                }
            }
            // Until fronts have the new certificates they have signatures made by the old keys. Where a set was refused, they still
            // have the one before: the next one takes the refused one's place.
            if !std::mem::take(&mut self.refused) {
                self.first_key ^= BANK;
            }
            let first = self.first_key;
            self.keys.retain(|number, _| number ^ first >= BANK);
            self.send_keys(keys);
        }
        self.log.write(Level::Notice, "configuration reloaded", &[]);
        let noted = self.outcomes.done();
        self.noted(noted);
    }

    pub(super) fn drain(&mut self) {
        if self.answer_due().is_some() {
            self.asked.clear();
            self.not_reloaded(&"the server ends");
        }
        crate::notify::notify("STOPPING=1");
        self.log.write(
            Level::Notice,
            "ending: no new sessions",
            &[("seconds", &self.config.grace.as_secs())],
        );
        self.stage = Stage::Draining(Instant::now() + self.config.grace);
        self.due.clear();
        // With the fronts' own ends of them, so that clients are turned away and do not wait in a queue.
        self.listeners.clear();
        for front in self.fronts() {
            self.tell_front(front, &MonitorToFront::Drain);
        }
    }

    /// Closes all channels: every child ends by itself, workers without update.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Ending(Instant::now() + FAREWELL);
        self.due.clear();
        for process in self.processes.values_mut() {
            match &process.link {
                // The session's dotlock is still to be removed: its channel is shut, not forgotten.
                Some(Link::Worker { channel, .. }) => {
                    use std::os::fd::AsRawFd;
                    let fd = channel.as_fd().as_raw_fd();
                    // It fails where the worker has gone already.
                    let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Write);
                }
                Some(link) => {
                    self.events.forget(link.as_fd());
                    process.link = None;
                }
                None => {}
            }
        }
    }

    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let drained = |process: &Process| match &process.link {
            Some(Link::Front(front)) => front.drained,
            Some(Link::Worker { .. }) => false,
            _ => true,
        };
        match self.stage {
            Stage::Draining(until) if now >= until || self.processes.values().all(drained) => {
                self.end();
                false
            }
            Stage::Ending(until) if now >= until => {
                // An update takes as long as the disk does, and its spool is nobody else's until then.
                let updates = |process: &&Process| matches!(&process.link, Some(Link::Worker { session, .. }) if session.is_updating());
                let others = self.processes.values().filter(|process| !updates(process));
                others.for_each(Process::kill);
                self.stage = Stage::Ending(now + FAREWELL);
                false
            }
            Stage::Ending(_) => self.processes.is_empty(),
            _ => false,
        }
    }
}
