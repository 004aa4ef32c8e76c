//! A reload's first half: popward-config reads, and the monitor goes on meanwhile.

use super::{
    ANSWER, ChildId, Config, Instant, Link, Monitor, Process, Role, Stage, WaitStatus, children,
};
use crate::config::Draft;
use crate::reader;

impl Monitor {
    /// Has popward-config read the configuration.
    pub(super) fn reload(&mut self) {
        let noted = self.outcomes.reload();
        self.noted(noted);
        let started = reader::start(&mut self.nursery.spawner, &self.config.path);
        let reading = started.and_then(|reader| {
            let draft = Box::new(Draft::of(&self.config.path));
            let channel = reader.channel;
            self.adopt(Process {
                role: Role::Config,
                child: reader.child,
                log: children::log_channel(reader.log).map_err(|errno| errno.to_string())?,
                link: Some(Link::Config { channel, draft }),
                since: Instant::now(),
                reaped: false,
            })
            .map_err(|error| error.to_string())
        });
        match reading {
            Ok(id) => self.reading = Some((Instant::now() + reader::PATIENCE, id)),
            Err(error) => self.not_reloaded(&error),
        }
    }

    /// popward-config has read all of it, or says why it cannot be used. Has auth say first whether it can use what is
    /// its part: all of it is taken, or nothing.
    pub(super) fn was_read(&mut self, id: ChildId, read: Result<Box<Config>, String>) {
        if self.stage != Stage::Serving || !self.stop_reading(id) {
            return;
        }
        if let Some(Link::Config { draft, .. }) = self.link(id) {
            let warnings = draft.warnings.clone();
            self.log.warn_of_configuration(&warnings);
        }
        match read {
            Err(why) => self.not_reloaded(&why),
            Ok(config) => match self.tell_auth(&config.for_auth()) {
                Some(true) => {
                    let until = Instant::now() + ANSWER;
                    self.asked.push_back((until, Some(*config)));
                }
                Some(false) => self.not_reloaded(&"auth does not listen"),
                // When it is started again, it gets these.
                None => self.apply(*config),
            },
        }
        self.reload_if_wanted();
    }

    /// Returns whether this one was being waited for.
    fn stop_reading(&mut self, id: ChildId) -> bool {
        let waited_for = self.reading.is_some_and(|(_, reading)| reading == id);
        if waited_for {
            self.reading = None;
        }
        waited_for
    }

    /// Ends a popward-config that takes too long.
    pub(super) fn await_reader(&mut self) {
        let late = self.reading.filter(|(until, _)| *until <= Instant::now());
        let Some((_, id)) = late else {
            return;
        };
        self.reading = None;
        if let Some(process) = self.processes.get(&id) {
            process.kill();
        }
        self.not_reloaded(&reader::late());
        self.reload_if_wanted();
    }

    /// A popward-config has ended. Returns whether it should not have: it had not said everything.
    pub(super) fn reader_ended(&mut self, id: ChildId, status: WaitStatus) -> bool {
        let early = self.stop_reading(id);
        if early {
            self.not_reloaded(&reader::gone(Ok(status)));
            self.reload_if_wanted();
        }
        early
    }
}
