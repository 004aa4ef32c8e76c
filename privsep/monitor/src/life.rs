//! A monitor's life: its loop, the supervisor's messages, its retirement and its end.

use crate::monitor::{FAREWELL, Monitor, Stage};
use crate::parts::serves;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use popward_parent::events::{ChildId, Event};
use popward_parent::process::{TURN, send};
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::monitor_auth::MonitorToAuth;
use popward_proto::monitor_front::MonitorToFront;
use popward_proto::monitor_sessions::MonitorToSessions;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, SupervisorToMonitor};
use popward_records::watch_channel;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the parts may take until they can serve.
const RISE: Duration = Duration::from_secs(30);

/// How long auth may take on trial.
const TRIAL: Duration = Duration::from_secs(10);

/// How long an auth may take to hand over what it remembers. The newer auth waits as long.
const HANDOVER: Duration = Duration::from_secs(10);

impl Monitor {
    /// Runs until the monitor is not needed any more. On `trial`, it starts auth alone, and tells
    /// the supervisor whether auth can use its part of the configuration.
    pub(crate) fn run(&mut self, trial: bool) {
        let mut buffer = PacketBuffer::for_messages();
        self.rise = if trial { TRIAL } else { RISE };
        self.stage = Stage::Rising(Instant::now() + self.rise);
        if trial {
            self.start_part(Role::Auth);
        }
        while !self.is_over() {
            let events = match self.starter.events.wait(self.deadline()) {
                Ok(events) => events,
                Err(errno) => {
                    let fields: &[(&str, &dyn Display)] = &[("error", &errno)];
                    return self.log.write(Level::Error, "epoll_wait", fields);
                }
            };
            // Records first, so that what a process said comes before what became of it.
            for event in &events {
                if let Event::Second(child) = event {
                    self.read_log(*child, &mut buffer, TURN);
                }
            }
            for event in events {
                match event {
                    Event::Second(_) => {}
                    Event::Own => self.hear_supervisor(&mut buffer),
                    Event::Control(child) => self.read_control(child, &mut buffer, TURN),
                    Event::Ended(child) => self.ended(child, &mut buffer),
                }
            }
            self.start_due();
            self.end_late();
        }
    }

    /// When something is due, whatever happens.
    fn deadline(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Rising(until) | Stage::Draining(until) | Stage::Ending(until) => Some(until),
            Stage::Serving | Stage::Retired => None,
        };
        let due = self.due.iter().map(|(at, _)| *at);
        let leaving = self.leaving.values().map(|(until, _)| *until);
        let hand_over = self.hands_over_until;
        let hand_over = hand_over.filter(|until| *until > Instant::now());
        due.chain(leaving).chain(stage).chain(hand_over).min()
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

    fn hear_supervisor(&mut self, buffer: &mut PacketBuffer) {
        for _ in 0..TURN {
            match self.supervisor.receive(buffer) {
                Ok((message, files)) => self.told(&message, files),
                Err(ChannelError::WouldBlock) => return,
                Err(ChannelError::Closed) => return self.lose_supervisor(),
                Err(error) => {
                    let fields: &[(&str, &dyn Display)] = &[("error", &error)];
                    let text = "the supervisor broke the rules";
                    self.log.write(Level::Error, text, fields);
                    return self.lose_supervisor();
                }
            }
        }
    }

    /// Without a supervisor there is no server.
    fn lose_supervisor(&mut self) {
        self.starter.events.forget(self.supervisor.as_fd());
        self.end(FAREWELL);
    }

    fn told(&mut self, message: &SupervisorToMonitor, files: Vec<OwnedFd>) {
        let mut files = files.into_iter();
        match (message, files.next(), files.next()) {
            (SupervisorToMonitor::Log, Some(own), Some(of_sessions)) => {
                self.log.connect(own);
                self.tell_sessions(&MonitorToSessions::Log, &[of_sessions.as_fd()]);
            }
            (SupervisorToMonitor::Accept, ..) => self.accept(),
            (SupervisorToMonitor::OlderMonitor, Some(monitor), Some(sessions)) => {
                let auth = self.parts.auth.as_ref();
                let told = auth.map(|auth| {
                    let files = [monitor.as_fd(), sessions.as_fd()];
                    (auth.id(), auth.send(&MonitorToAuth::OlderMonitor, &files))
                });
                if let Some((id, Err(error))) = told {
                    self.banish(id, &error);
                }
            }
            (SupervisorToMonitor::NewerAuth, Some(own), Some(sessions)) => {
                self.follow(own, &sessions, false);
            }
            (SupervisorToMonitor::Retire, Some(own), Some(sessions)) => {
                self.retire(own, &sessions);
            }
            (SupervisorToMonitor::Oldest, ..) => {
                self.oldest = true;
                self.tidy();
            }
            (SupervisorToMonitor::Drain, ..) => self.drain(),
            // These come before the start only, or a descriptor is missing.
            _ => {}
        }
    }

    /// The configuration is in use from now on.
    fn accept(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        for listener in &self.listeners {
            // Connections that are accepted from now on inherit how long a client may leave sent
            // bytes unacknowledged. The system call filter of a front does not permit this option.
            let stall_ms = self.config.base.front.limits.stall_ms;
            if let Err(error) = setsockopt(&listener.socket, TcpUserTimeout, &stall_ms) {
                let text = "limits.stall not set for new connections";
                self.log.write(Level::Error, text, &[("error", &error)]);
            }
        }
        self.accepting = true;
        let ready = self
            .parts
            .fronts
            .values()
            .filter(|front| serves(&front.part));
        let ready: Vec<_> = ready.map(|front| front.number).collect();
        for front in ready {
            self.tell_front(front, &MonitorToFront::Accept);
        }
        self.tell_sessions(&MonitorToSessions::Accept, &[]);
    }

    /// The fronts ask a newer auth about new logins. With `hand_over`, it takes over first what
    /// this monitor's auth remembers, so that it checks no login before. `of_sessions` is the
    /// channel by which it grants sessions.
    fn follow(&mut self, socket: OwnedFd, of_sessions: &OwnedFd, hand_over: bool) {
        self.tell_sessions(&MonitorToSessions::NewerAuth, &[of_sessions.as_fd()]);
        let channel = Channel::new(socket, SetupPhase::Serving);
        let id = match watch_channel(&mut self.starter.events, &channel) {
            Ok(id) => id,
            Err(errno) => {
                let text = "the auth of the newer configuration is not known";
                return self.log.write(Level::Error, text, &[("error", &errno)]);
            }
        };
        self.newer_auths.insert(id, channel);
        if hand_over {
            self.hand_over(id);
        }
        self.introduce_fronts(id);
    }

    fn hand_over(&mut self, newest: ChildId) {
        let old = self.parts.auth.as_ref();
        let new = self.newer_auths.get(&newest);
        let (Some(old), Some(new)) = (old.filter(|auth| auth.channel.is_some()), new) else {
            return;
        };
        let handed = socket_pair().map_err(ChannelError::System);
        let handed = handed.and_then(|(old_end, new_end)| {
            send(new, &MonitorToAuth::Predecessor, &[new_end.as_fd()])?;
            old.send(&MonitorToAuth::Successor, &[old_end.as_fd()])
        });
        if let Err(error) = handed {
            let text = "failures and last logins are not handed over to the new auth";
            self.log.write(Level::Error, text, &[("error", &error)]);
        }
    }

    /// A newer monitor takes over.
    fn retire(&mut self, socket: OwnedFd, of_sessions: &OwnedFd) {
        self.due.clear();
        self.listeners.clear();
        if self.stage == Stage::Serving {
            self.stage = Stage::Retired;
        }
        self.hands_over_until = Some(Instant::now() + HANDOVER);
        self.follow(socket, of_sessions, true);
        self.tell_sessions(&MonitorToSessions::Retire, &[]);
        self.tell_fronts(&MonitorToFront::Retire);
        self.tell(&MonitorToSupervisor::Retired);
    }

    /// The server ends: no new connections, and some time for those that are there.
    fn drain(&mut self) {
        if !self.serves() {
            return self.end(FAREWELL);
        }
        let grace = Duration::from_secs(self.config.common.grace_s.into());
        self.stage = Stage::Draining(Instant::now() + grace);
        self.due.clear();
        // The fronts close theirs too, so that clients are turned away and do not wait in a queue.
        self.listeners.clear();
        self.tell_sessions(&MonitorToSessions::Drain, &[]);
        self.tell_fronts(&MonitorToFront::Drain);
    }

    /// Ends what takes too long.
    fn end_late(&mut self) {
        let now = Instant::now();
        if let Stage::Rising(until) = self.stage {
            if until <= now {
                let sessions = self.parts.sessions.as_ref().filter(|it| !serves(it));
                let late = sessions.map(|_| Role::Sessions);
                let part = late.unwrap_or_else(|| self.parts.late(&self.config)).name();
                let seconds = self.rise.as_secs();
                self.not_risen(&format_args!("{part} cannot serve after {seconds} s"));
            }
        }
        for (until, process) in self.leaving.values_mut() {
            if *until <= now {
                process.kill();
                *until = now + FAREWELL;
            }
        }
        self.tidy();
    }

    /// Whether nothing is left to do. Goes on with the end.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        match self.stage {
            Stage::Draining(until) if now >= until || self.has_drained() => {
                self.end(FAREWELL);
                false
            }
            Stage::Retired if self.has_drained() => {
                self.end(FAREWELL);
                false
            }
            Stage::Ending(until) => {
                self.stage = Stage::Ending(if now >= until { now + FAREWELL } else { until });
                self.parts.sessions.is_none() && self.leaving.is_empty()
            }
            _ => false,
        }
    }

    fn has_drained(&self) -> bool {
        self.sessions_drained && self.parts.ids().is_empty() && self.leaving.is_empty()
    }
}
