//! The loop, the monitor's messages, and the end.

use crate::sessions::{FAREWELL, Sessions, Stage};
use popward_parent::events::{ChildId, Event};
use popward_parent::process::TURN;
use popward_proto::log::Level;
use popward_proto::monitor_sessions::MonitorToSessions;
use popward_proto::setup_phase::SetupPhase;
use popward_records::watch_channel;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

impl Sessions {
    /// Runs until the monitor has closed its channel, and all workers have ended.
    pub(crate) fn run(&mut self) {
        let mut buffer = PacketBuffer::for_messages();
        while !self.is_over() {
            let deadline = match self.stage {
                Stage::Ending(until) => Some(until),
                Stage::Serving | Stage::Retired => None,
            };
            let events = match self.starter.starter.events.wait(deadline) {
                Ok(events) => events,
                Err(errno) => {
                    let fields: &[(&str, &dyn Display)] = &[("error", &errno)];
                    return self.log.write(Level::Error, "epoll_wait", fields);
                }
            };
            // Records first, so that what a process said comes before what became of it.
            for event in &events {
                if let Event::Second(worker) = event {
                    self.read_log(*worker, &mut buffer, TURN);
                }
            }
            // Then the monitor: it tells of a front before auth can grant a session of it.
            if events.contains(&Event::Own) {
                self.hear_monitor(&mut buffer);
            }
            for event in events {
                match event {
                    Event::Second(_) | Event::Own => {}
                    Event::Control(id) => self.read_control(id, &mut buffer, TURN),
                    Event::Ended(id) if self.fronts.contains_key(&id) => self.disconnect(id),
                    Event::Ended(id) => self.ended(id, &mut buffer),
                }
            }
        }
    }

    fn hear_monitor(&mut self, buffer: &mut PacketBuffer) {
        for _ in 0..TURN {
            match self.monitor.receive(buffer) {
                Ok((message, files)) => {
                    self.told(&message, files.into_iter().next());
                }
                Err(ChannelError::WouldBlock) => return,
                Err(ChannelError::Closed) => return self.end(),
                Err(error) => {
                    let fields: &[(&str, &dyn Display)] = &[("error", &error)];
                    let text = "the monitor broke the rules";
                    self.log.write(Level::Error, text, fields);
                    return self.end();
                }
            }
        }
    }

    fn told(&mut self, message: &MonitorToSessions, file: Option<OwnedFd>) {
        match (message, file) {
            (MonitorToSessions::Log, Some(socket)) => self.log.connect(socket),
            (MonitorToSessions::Accept, _) => self.tend(),
            (MonitorToSessions::Auth, Some(socket)) => self.own_auth = self.meet_auth(socket),
            (MonitorToSessions::NewerAuth, Some(socket)) => {
                self.meet_auth(socket);
            }
            (MonitorToSessions::Front(number), Some(socket)) => {
                let channel = Channel::new(socket, SetupPhase::Serving);
                let id = self.starter.starter.events.next_id();
                let watched = channel
                    .set_nonblocking()
                    .and_then(|()| self.starter.starter.events.watch_end(channel.as_fd(), id));
                match watched {
                    Ok(()) => drop(self.fronts.insert(id, (*number, channel))),
                    Err(errno) => self.not_met(&errno),
                }
            }
            (MonitorToSessions::Retire, _) => self.stage = Stage::Retired,
            (MonitorToSessions::Drain, _) => {
                self.to_tend.clear();
                self.stage = Stage::Retired;
            }
            // The descriptor is missing, which the permit table does not permit.
            _ => {}
        }
        self.tidy();
    }

    fn meet_auth(&mut self, socket: OwnedFd) -> Option<ChildId> {
        let channel = Channel::new(socket, SetupPhase::Serving);
        match watch_channel(&mut self.starter.starter.events, &channel) {
            Ok(id) => {
                self.auths.insert(id, channel);
                Some(id)
            }
            Err(errno) => {
                self.not_met(&errno);
                None
            }
        }
    }

    fn not_met(&mut self, errno: &dyn Display) {
        let text = "a process can begin no sessions";
        self.log.write(Level::Error, text, &[("error", errno)]);
    }

    /// Whether nothing is left to do. Goes on with the end.
    fn is_over(&mut self) -> bool {
        let Stage::Ending(until) = self.stage else {
            return false;
        };
        if until <= Instant::now() {
            // An update takes as long as the disk does. Nobody else may use its spool until then.
            let workers = self.workers.values();
            let others = workers.filter(|worker| !worker.session.is_updating());
            others.for_each(|worker| worker.child.process.kill());
            self.stage = Stage::Ending(Instant::now() + FAREWELL);
        }
        self.workers.is_empty()
    }
}
