//! The supervisor's life: its loop, signals, messages from its children, and their ends.

use crate::log_process::LogProcess;
use crate::notify::notify;
use crate::outcome::Outcome;
use crate::reader;
use crate::supervisor::{Stage, Supervisor};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use popward_parent::connected_child::AnyChild;
use popward_parent::events::{ChildId, Event};
use popward_parent::process::{Process, REST, TURN};
use popward_proto::VERSION;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, SupervisorToMonitor};
use popward_proto::supervisor_sessions::{SessionsToSupervisor, SupervisorToSessions};
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::fmt::Display;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long popward-log may take for its last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Runs until SIGTERM, or until the start has failed.
    ///
    /// # Errors
    ///
    /// Why the start failed, or the error of a system call.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut buffer = PacketBuffer::for_messages();
        self.note(Outcome::UnderWay("starting"));
        self.rise(Rc::clone(&self.config))?;
        while !self.is_over() {
            let events = self.starter.events.wait(self.deadline());
            for event in events.map_err(|errno| format!("epoll_wait: {errno}"))? {
                match event {
                    Event::Own => self.hear_signals(),
                    Event::Control(child) => self.read_control(child, &mut buffer, TURN),
                    Event::Second(child) => self.read_sessions(child, &mut buffer),
                    Event::Ended(child) => self.ended(child, &mut buffer),
                }
            }
            self.start_due();
            self.end_late();
        }
        // popward-log writes the last lines.
        if let Some(log) = self.children.log.take() {
            self.log.disconnect();
            log.end(Instant::now() + LAST_LINES);
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// When something is due, whatever happens.
    fn deadline(&self) -> Option<Instant> {
        let due = self.due.values().copied();
        let reading = self
            .children
            .reading
            .as_ref()
            .and_then(|reading| reading.until);
        let next = self.next.map(|next| next.until);
        due.chain(reading).chain(next).min()
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).ok();
            let signal = number.and_then(|number| Signal::try_from(number).ok());
            match (signal, self.stage) {
                (Some(Signal::SIGHUP), Stage::Starting | Stage::Serving) => {
                    self.wanted = true;
                    self.reload_if_wanted();
                }
                (Some(Signal::SIGHUP), _) => {}
                (_, Stage::Serving) => self.drain(),
                _ => self.end(),
            }
        }
    }

    /// Reads at most `most` packets of a child's channel.
    fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.read_packet(id, buffer) {
                Some(Ok(())) => {}
                None | Some(Err(ChannelError::WouldBlock)) => return,
                // It ends by itself.
                Some(Err(ChannelError::Closed)) => {
                    let child = self.children.get(id);
                    return child.map_or((), |child| child.disconnect(&self.starter.events));
                }
                Some(Err(error)) => return self.banish(id, &error),
            }
        }
    }

    /// Reads one packet of a child's channel. `None`: the channel is closed. popward-log says
    /// nothing.
    fn read_packet(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<(), ChannelError>> {
        if let Some(monitor) = self.children.monitors.get_mut(&id) {
            let received = monitor.child.receive(buffer)?;
            return Some(received.map(|(message, _)| self.heard(id, message)));
        }
        let reading = self.children.reading.as_mut();
        let heard = reading.filter(|it| it.child.id() == id)?.hear(buffer);
        Some(heard.map(|read| read.map_or((), |read| self.was_read(read))))
    }

    /// Reads packets of the channel of a monitor's sessions.
    fn read_sessions(&mut self, id: ChildId, buffer: &mut PacketBuffer) {
        for _ in 0..TURN {
            let Some(monitor) = self.children.monitors.get_mut(&id) else {
                return;
            };
            match monitor.sessions.receive(buffer) {
                Ok((message, _)) => self.heard_sessions(id, message),
                Err(ChannelError::WouldBlock) => return,
                Err(ChannelError::Closed) => {
                    return self.starter.events.forget(monitor.sessions.as_fd());
                }
                Err(error) => return self.banish(id, &error),
            }
        }
    }

    fn heard(&mut self, id: ChildId, message: MonitorToSupervisor) {
        let is_next = self.next_is(id, false);
        match message {
            MonitorToSupervisor::Ready { version } if version != VERSION => {
                self.banish(id, &format_args!("version {version}, not {VERSION}"));
            }
            MonitorToSupervisor::Ready { .. } if is_next => self.risen(id),
            MonitorToSupervisor::Unusable(why) => {
                if let Some(monitor) = self.children.monitors.get_mut(&id) {
                    monitor.why = Some(why.to_string());
                }
                if is_next {
                    self.not_risen(&why);
                }
            }
            MonitorToSupervisor::Retired if self.current == Some(id) => self.switch(),
            MonitorToSupervisor::NewAuth => {
                if self.current == Some(id) {
                    for older in self.old() {
                        self.connect(id, older, false);
                    }
                }
            }
            MonitorToSupervisor::Reload => {
                self.wanted |= self.current == Some(id);
                self.reload_if_wanted();
            }
            // A monitor that was given up meanwhile.
            MonitorToSupervisor::Ready { .. } | MonitorToSupervisor::Retired => {}
        }
    }

    fn heard_sessions(&mut self, monitor: ChildId, message: SessionsToSupervisor) {
        match message {
            SessionsToSupervisor::Claim(claim) => {
                for (monitor, other) in self.claims.sessions_of(&claim.user) {
                    self.tell_sessions(monitor, &SupervisorToSessions::Newcomer(other));
                }
                let session = claim.session;
                let refusal = self.claims.add(monitor, claim);
                self.tell_sessions(monitor, &SupervisorToSessions::Claimed(session, refusal));
            }
            SessionsToSupervisor::Adopted(session) => self.claims.adopted(session),
            SessionsToSupervisor::Released(session) => self.claims.release(session),
        }
    }

    /// A child may have ended.
    fn ended(&mut self, id: ChildId, buffer: &mut PacketBuffer) {
        let child = self.children.get(id).map(AnyChild::process);
        let Some(status) = child.and_then(Process::reap) else {
            return;
        };
        // Everything that it said before its end counts, such as the rest of a configuration.
        self.read_control(id, buffer, REST);
        if let Some(mut monitor) = self.children.monitors.remove(&id) {
            monitor.child.forget(&self.starter.events);
            let ends = matches!(self.stage, Stage::Draining | Stage::Ending);
            let is_0 = matches!(status, WaitStatus::Exited(_, 0));
            let in_order = is_0 && (ends || self.current != Some(id));
            if !in_order && monitor.why.is_none() {
                monitor.child.process.report(status, &[], &mut self.log);
            }
            self.monitor_ended(id, &monitor.child.process);
        } else if let Some(mut reading) = self.children.reading.take_if(|it| it.child.id() == id) {
            reading.child.forget(&self.starter.events);
            if reading.until.is_some() {
                self.not_reloaded(&reader::gone(Ok(status)));
                reading.child.process.report(status, &[], &mut self.log);
            }
            self.reload_if_wanted();
        } else if let Some(LogProcess(mut log)) = self.children.log.take_if(|it| it.0.id() == id) {
            log.forget(&self.starter.events);
            log.process.report(status, &[], &mut self.log);
            self.again_later(Role::Log, log.process.life());
        }
    }

    fn monitor_ended(&mut self, id: ChildId, process: &Process) {
        self.claims.release_all(id);
        let why = &"popward-monitor ended before everything was ready";
        if self.next_is(id, false) {
            self.not_risen(why);
        } else if self.next_is(id, true) {
            // The current monitor has been told to retire. Another one follows it.
            self.next = None;
            self.current = None;
            self.not_reloaded(why);
            self.again_later(Role::Monitor, process.life());
        } else if self.current == Some(id) {
            self.current = None;
            if self.next.is_some_and(|next| next.ready) {
                self.switch();
            } else if self.stage == Stage::Serving {
                self.again_later(Role::Monitor, process.life());
            }
        }
        // The oldest monitor that is left has to know that it is the oldest.
        let oldest = self.children.monitors.iter_mut().next();
        if let Some((&id, oldest)) = oldest.filter(|(_, oldest)| !oldest.oldest) {
            oldest.oldest = true;
            self.tell(id, &SupervisorToMonitor::Oldest, &[]);
        }
        self.reload_if_wanted();
    }

    fn start_due(&mut self) {
        for role in [Role::Log, Role::Monitor] {
            let is_later = |at: &Instant| *at > Instant::now();
            if self.due.get(&role).is_none_or(is_later) {
                continue;
            }
            self.due.remove(&role);
            let waits = self.current.or(self.next.map(|next| next.id));
            let started = match role {
                Role::Log => self.start_log().map_err(|error| error.to_string()),
                _ if waits.is_some() || self.stage != Stage::Serving => Ok(()),
                _ => self.rise(Rc::clone(&self.config)),
            };
            if let Err(error) = started {
                let of: &[(&str, &dyn Display)] = &[("process", &role.name()), ("error", &error)];
                self.log.write(Level::Error, "not started", of);
                self.again_later(role, Duration::ZERO);
            }
        }
    }

    /// Ends what takes too long.
    fn end_late(&mut self) {
        let now = Instant::now();
        let reading = self
            .children
            .reading
            .as_ref()
            .and_then(|reading| reading.until);
        if reading.is_some_and(|until| until <= now) {
            self.stop_reading(&reader::late());
        }
        let Some(next) = self.next.filter(|next| next.until <= now) else {
            return;
        };
        if next.ready {
            let text = "the monitor before does not hand over";
            self.log.write(Level::Error, text, &[]);
            return self.switch();
        }
        if let Some(child) = self.children.get(next.id) {
            child.process().kill();
        }
        self.not_risen(&"popward-monitor does not answer");
    }

    /// Ends popward-config. What it has said does not matter.
    fn stop_reading(&mut self, why: &dyn Display) {
        if let Some(reading) = &mut self.children.reading {
            reading.child.process.kill();
            if reading.until.take().is_some() {
                self.not_reloaded(why);
            }
        }
    }

    /// Breaks off a reload that is under way.
    fn stop_reload(&mut self) {
        let why = "the server ends";
        self.wanted = false;
        self.stop_reading(&why);
        if self.stage == Stage::Serving {
            self.not_risen(&why);
        }
        self.due.remove(&Role::Monitor);
    }

    /// The server ends: no new connections, and some time for those that are there.
    fn drain(&mut self) {
        self.stop_reload();
        notify("STOPPING=1");
        let seconds = &self.config.settings.common.grace_s;
        let text = "ending: no new connections";
        self.log.write(Level::Notice, text, &[("seconds", seconds)]);
        self.stage = Stage::Draining;
        // So that clients are turned away and do not wait in a queue.
        self.listeners.clear();
        for id in self.monitors() {
            self.tell(id, &SupervisorToMonitor::Drain, &[]);
        }
    }

    /// Closes all channels: every monitor ends, with its sessions.
    fn end(&mut self) {
        self.stop_reload();
        self.dismiss_all();
    }

    fn is_over(&self) -> bool {
        let ends = matches!(self.stage, Stage::Draining | Stage::Ending);
        ends && self.children.monitors.is_empty() && self.children.reading.is_none()
    }
}
