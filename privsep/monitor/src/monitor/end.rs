//! Signals, and the two steps of the end.

use super::{
    AsFd, ChildId, Duration, FAREWELL, Front, Instant, Level, Monitor, MonitorToFront, Signal,
    Stage,
};
use std::os::fd::AsRawFd;

impl Monitor {
    pub(super) fn signals(&mut self) {
        for signal in self.starter.events.signals() {
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

    /// Breaks a reload off that is under way.
    fn stop_reload(&mut self) {
        self.wanted = false;
        let why = "the server ends";
        if let Some((_, reading)) = &mut self.reading {
            reading.process.kill();
            if reading.until.take().is_some() {
                self.not_reloaded(&why);
            }
        }
        if self.stage == Stage::Serving {
            self.not_risen(&why);
        }
    }

    fn drain(&mut self) {
        self.stop_reload();
        crate::notify::notify("STOPPING=1");
        let seconds = self.config.grace.as_secs();
        let text = "ending: no new sessions";
        self.log
            .write(Level::Notice, text, &[("seconds", &seconds)]);
        self.stage = Stage::Draining(Instant::now() + self.config.grace);
        self.due.clear();
        // With the fronts' own ends of them, so that clients are turned away and do not wait in a queue.
        self.starter.listeners.clear();
        let fronts = self
            .generations()
            .flat_map(|generation| generation.fronts.keys());
        let fronts: Vec<ChildId> = fronts.copied().collect();
        self.tell_fronts(fronts, &MonitorToFront::Drain);
    }

    /// Closes all channels: every child ends by itself, workers without update.
    pub(super) fn end(&mut self) {
        self.stop_reload();
        self.stage = Stage::Ending(Instant::now() + FAREWELL);
        self.due.clear();
        let rising = self
            .rising
            .take()
            .map(|(_, rising)| (rising, Duration::ZERO));
        let others = std::mem::take(&mut self.old)
            .into_iter()
            .chain(self.current.take());
        let others = others.map(|generation| (generation, FAREWELL));
        for (mut generation, time) in others.chain(rising).collect::<Vec<_>>() {
            self.dismiss_all(&mut generation, time);
        }
        for worker in self.workers.values() {
            // The session's dotlock is still to be removed: its channel is shut, not forgotten. It fails where the worker has
            // gone already.
            let fd = worker.channel.as_fd().as_raw_fd();
            let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Write);
        }
    }

    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let stage = self.stage;
        match stage {
            Stage::Draining(until) if now >= until || self.has_drained() => {
                self.end();
                false
            }
            Stage::Ending(until) if now >= until => {
                // An update takes as long as the disk does, and its spool is nobody else's until then.
                let others = self
                    .workers
                    .values()
                    .filter(|worker| !worker.session.is_updating());
                others.for_each(|worker| worker.process.kill());
                self.stage = Stage::Ending(now + FAREWELL);
                false
            }
            Stage::Ending(_) => {
                self.workers.is_empty() && self.leaving.is_empty() && self.reading.is_none()
            }
            _ => false,
        }
    }

    fn has_drained(&mut self) -> bool {
        let drained = |front: &Front| front.drained || front.own.channel.is_none();
        let mut generations = self.generations();
        let drained = generations.all(|of| of.fronts.values().all(drained));
        drop(generations);
        drained && self.workers.is_empty()
    }
}
