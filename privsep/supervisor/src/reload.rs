//! The start and reloads. popward-config reads the configuration, and a monitor starts with it
//! beside the one in use. When all parts of the new monitor can serve, the new one takes over. An
//! error before that changes nothing.

use crate::config::Config;
use crate::outcome::Outcome;
use crate::supervisor::{Next, Stage, Supervisor};
use popward_parent::events::ChildId;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::supervisor_monitor::SupervisorToMonitor;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most monitors that serve their last connections at once. One more reload waits.
const OLD_MAX: usize = 2;

/// How long a monitor may take to hand over.
const HANDOVER: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Begins a reload, unless one is under way. One more begins after it, for any number of
    /// signals.
    pub(crate) fn reload_if_wanted(&mut self) {
        let under_way = self.children.reading.is_some() || self.next.is_some();
        if !self.wanted || self.stage != Stage::Serving || under_way {
            return;
        }
        if self.old().len() >= OLD_MAX {
            if !std::mem::replace(&mut self.waits, true) {
                let text = "reload waits for the last connections of an earlier configuration";
                self.log.write(Level::Warning, text, &[]);
                self.note(Outcome::UnderWay(text));
            }
            return;
        }
        (self.wanted, self.waits) = (false, false);
        self.note(Outcome::Begins);
        if let Err(error) = self.read() {
            self.not_reloaded(&error);
        }
    }

    /// popward-config has read all of the configuration, or says why it cannot be used.
    pub(crate) fn was_read(&mut self, read: Result<Config, String>) {
        let Some(reading) = &mut self.children.reading else {
            return;
        };
        if reading.until.take().is_none() {
            return;
        }
        let warnings = std::mem::take(&mut reading.draft.warnings);
        self.warn_of_configuration(&warnings);
        let mut config = match read {
            Ok(config) => config,
            Err(why) => return self.not_reloaded(&why),
        };
        let (now, new) = (&self.config.settings, &mut config.settings);
        if (&new.listen, &new.state) != (&now.listen, &now.state) {
            let text = "listen and server.state are read at the start only: restart for them";
            self.log.write(Level::Warning, text, &[]);
        }
        new.listen.clone_from(&now.listen);
        new.state.clone_from(&now.state);
        config.connections_before = Some(now.connections);
        if let Err(why) = self.rise(Rc::new(config)) {
            self.not_reloaded(&why);
        }
    }

    /// Writes the warnings of popward-config.
    pub(crate) fn warn_of_configuration(&mut self, warnings: &[String]) {
        for warning in warnings {
            let text = "configuration warning";
            self.log.write(Level::Warning, text, &[("text", warning)]);
        }
    }

    /// The rising monitor cannot serve. It ends, and nothing has changed.
    pub(crate) fn not_risen(&mut self, why: &dyn Display) {
        let Some(Next { id, .. }) = self.next.take_if(|next| !next.ready) else {
            return;
        };
        let mut is_reload = true;
        if let Some(monitor) = self.children.monitors.get_mut(&id) {
            monitor.child.disconnect(&self.starter.events);
            is_reload = !Rc::ptr_eq(&monitor.config, &self.config);
        }
        if self.stage == Stage::Starting {
            self.failure.get_or_insert(why.to_string());
            return self.dismiss_all();
        }
        if is_reload {
            self.not_reloaded(why);
        } else {
            let fields: &[(&str, &dyn Display)] = &[("process", &"monitor"), ("error", why)];
            self.log.write(Level::Error, "not started", fields);
        }
        if self.current.is_none() {
            self.again_later(Role::Monitor, Duration::ZERO);
        }
        self.reload_if_wanted();
    }

    /// A reload has failed.
    pub(crate) fn not_reloaded(&mut self, error: &dyn Display) {
        let text = "configuration not reloaded";
        self.log.write(Level::Error, text, &[("error", error)]);
        self.note(Outcome::Failed(error));
    }

    /// Reports an outcome. Logs that it could not be written.
    pub(crate) fn note(&mut self, outcome: Outcome<'_>) {
        if let Err(error) = self.outcomes.report(outcome) {
            let text = "outcome not written for popward reload";
            self.log.write(Level::Error, text, &[("error", &error)]);
        }
    }

    /// The rising monitor can serve. First the current one hands over what its auth remembers.
    pub(crate) fn risen(&mut self, id: ChildId) {
        if let Some(child) = self.children.get(id) {
            child.enter_service();
        }
        self.next = Some(Next {
            id,
            until: Instant::now() + HANDOVER,
            ready: true,
        });
        match self.current {
            Some(current) => self.connect(id, current, true),
            None => self.switch(),
        }
    }

    /// The monitor that is ready takes over.
    pub(crate) fn switch(&mut self) {
        let Some(Next { id, .. }) = self.next.take_if(|next| next.ready) else {
            return;
        };
        if matches!(self.stage, Stage::Draining | Stage::Ending) {
            return;
        }
        let Some(config) = self
            .children
            .monitors
            .get(&id)
            .map(|new| Rc::clone(&new.config))
        else {
            return;
        };
        let before = std::mem::replace(&mut self.config, config);
        let retired = self.current.replace(id);
        for older in self.old() {
            // The one that was current until now knows already.
            if retired != Some(older) {
                self.connect(id, older, false);
            }
        }
        self.tell(id, &SupervisorToMonitor::Accept, &[]);
        self.change_log();
        let is_start = self.stage == Stage::Starting;
        let is_reload = !Rc::ptr_eq(&before, &self.config);
        if is_start {
            self.stage = Stage::Serving;
            let version: &[(&str, &dyn Display)] = &[("version", &env!("CARGO_PKG_VERSION"))];
            self.log.write(Level::Notice, "ready", version);
        } else if is_reload {
            self.log.write(Level::Notice, "configuration reloaded", &[]);
        }
        if is_start || is_reload {
            self.note(Outcome::Done);
        }
        self.reload_if_wanted();
    }

    fn change_log(&mut self) {
        let settings = &self.config.settings;
        self.log.set_level(settings.common.log_level);
        let log = self.children.log.as_ref();
        if let Some(Err(error)) = log.map(|log| log.change(settings.log)) {
            let text = "log not changed";
            self.log.write(Level::Error, text, &[("error", &error)]);
        }
    }
}
