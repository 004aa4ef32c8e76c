//! What the monitor reads from its children, and what each message leads to.

use crate::monitor::{Monitor, Stage};
use popward_parent::connected_child::ConnectedChild;
use popward_parent::events::ChildId;
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::keys::KeyId;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::monitor_auth::AuthToMonitor;
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor};
use popward_proto::monitor_sessions::{Peer, SessionsToMonitor};
use popward_proto::supervisor_monitor::MonitorToSupervisor;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::os::fd::{AsFd, OwnedFd};

impl Monitor {
    /// Reads at most `most` records of a process.
    pub(crate) fn read_log(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        let (log, events) = (&mut self.log, &self.starter.events);
        self.parts.logs.read(id, log, events, buffer, most);
    }

    /// Reads at most `most` packets of a child's channel.
    pub(crate) fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.read_packet(id, buffer) {
                Some(Ok(())) => {}
                None | Some(Err(ChannelError::WouldBlock)) => return,
                Some(Err(ChannelError::Closed)) => return self.closed(id),
                Some(Err(error)) => return self.banish(id, &error),
            }
        }
    }

    /// Reads one packet of a child's channel. `None`: the channel is closed.
    fn read_packet(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<(), ChannelError>> {
        let parts = &mut self.parts;
        if let Some(sessions) = parts.sessions.as_mut().filter(|it| it.id() == id) {
            let received = sessions.receive(buffer)?;
            return Some(received.map(|(message, files)| self.heard_sessions(id, message, files)));
        }
        if let Some(front) = parts.fronts.get_mut(&id) {
            let received = front.part.receive(buffer)?;
            return Some(received.map(|(message, _)| self.heard_front(id, message)));
        }
        if let Some(auth) = self.newer_auths.get_mut(&id) {
            let received = auth.receive(buffer);
            return Some(received.map(|(message, _)| self.heard_newer_auth(id, &message)));
        }
        if let Some(auth) = parts.auth.as_mut().filter(|auth| auth.id() == id) {
            let received = auth.receive(buffer)?;
            return Some(received.map(|(message, _)| self.heard_auth(id, message)));
        }
        let keys = parts.keys.as_mut().filter(|keys| keys.id() == id)?;
        let received = keys.receive(buffer)?;
        Some(received.map(|(message, _)| self.heard_keys(id, message)))
    }

    /// A child has closed its channel, so it can be told nothing more. It is killed, and another
    /// one is started.
    fn closed(&mut self, id: ChildId) {
        if let Some(auth) = self.newer_auths.remove(&id) {
            return self.starter.events.forget(auth.as_fd());
        }
        let kills = self.serves() || matches!(self.stage, Stage::Rising(_));
        if let Some(part) = self.parts.get(id) {
            part.disconnect(&self.starter.events);
            if kills {
                part.process().kill();
            }
        }
    }

    fn heard_front(&mut self, id: ChildId, message: FrontToMonitor) {
        match message {
            FrontToMonitor::Ready { version } => self.ready(id, version),
            FrontToMonitor::Unusable { key, why } => {
                let why = key.map_or(why.to_string(), |key| self.about_key(key, why.as_str()));
                self.unusable(id, &why);
            }
            FrontToMonitor::Drained => {
                if let Some(front) = self.parts.fronts.get_mut(&id) {
                    front.drained = true;
                }
                self.tidy();
            }
        }
    }

    fn heard_auth(&mut self, id: ChildId, message: AuthToMonitor) {
        match message {
            AuthToMonitor::Ready { version } => self.ready(id, version),
            AuthToMonitor::Unusable(why) => self.unusable(id, why.as_str()),
            AuthToMonitor::Converse(number, kind) => self.converse(id, number, kind),
            AuthToMonitor::BrokeRules(front) => self.broke_rules(front),
        }
    }

    /// The auth of another monitor may not ask for processes.
    fn heard_newer_auth(&mut self, id: ChildId, message: &AuthToMonitor) {
        match message {
            AuthToMonitor::BrokeRules(front) => self.broke_rules(*front),
            _ => self.closed(id),
        }
    }

    fn heard_keys(&mut self, id: ChildId, message: KeysToMonitor) {
        match message {
            KeysToMonitor::Ready { version } => self.ready(id, version),
            KeysToMonitor::Unusable { key, why } => {
                self.unusable(id, &self.about_key(key, why.as_str()));
            }
            KeysToMonitor::BrokeRules(front) => self.broke_rules(front),
            KeysToMonitor::Loaded(facts) => self.loaded(id, &facts),
        }
    }

    /// A text about a key, with the path of its file.
    fn about_key(&self, key: KeyId, why: &str) -> String {
        let certificate = self.config.certificates.get(usize::from(key.0));
        certificate.map_or(why.to_owned(), |found| format!("{}: {why}", found.key_path))
    }

    /// Auth or keys has closed its channel to a front. The front gets no other one, because it
    /// cannot be trusted with the clients that it has.
    fn broke_rules(&mut self, front: FrontId) {
        if let Some(front) = self.front(front) {
            let id = front.part.id();
            self.banish(id, &"another process has broken off with it");
        }
    }

    fn heard_sessions(&mut self, id: ChildId, message: SessionsToMonitor, files: Vec<OwnedFd>) {
        match message {
            SessionsToMonitor::Ready { version } => {
                self.parts.empty = files.into_iter().next();
                self.ready(id, version);
            }
            SessionsToMonitor::Unusable(why) => self.not_risen(&why),
            SessionsToMonitor::BrokeRules(Peer::Auth, error) => {
                if let Some(id) = self.parts.auth.as_ref().map(ConnectedChild::id) {
                    self.banish(id, &error);
                }
            }
            SessionsToMonitor::BrokeRules(Peer::Front(front), error) => {
                if let Some(id) = self.front(front).map(|front| front.part.id()) {
                    self.banish(id, &error);
                }
            }
            SessionsToMonitor::AuthDrained => {
                self.auth_drained = true;
                self.tidy();
            }
            SessionsToMonitor::Drained => self.sessions_drained = true,
        }
    }

    /// A part has said that it can serve.
    fn ready(&mut self, id: ChildId, version: u32) {
        if version != VERSION {
            return self.banish(id, &format_args!("version {version}, not {VERSION}"));
        }
        if let Some(part) = self.parts.get(id) {
            part.enter_service();
        }
        let front = self.parts.fronts.get(&id).filter(|_| self.accepting);
        if let Some(number) = front.map(|front| front.number) {
            self.tell_front(number, &MonitorToFront::Accept);
        }
        self.advance();
    }

    fn loaded(&mut self, id: ChildId, facts: &KeyFacts) {
        let known = self.parts.facts.entry(facts.key.0);
        if known.or_insert_with(|| facts.clone()) == facts {
            self.advance();
        } else {
            let why = "the key's file has another key now than the one in use";
            self.unusable(id, why);
        }
    }

    /// A part cannot use what it was given. At the start, the configuration cannot be used. Later,
    /// it is a part that was started again after files had changed, so the configuration must be
    /// read again.
    fn unusable(&mut self, id: ChildId, why: &str) {
        let Some(process) = self.process(id) else {
            return;
        };
        process.kill();
        let role = process.origin().role;
        let name = role.name();
        let text = "cannot use what it was given";
        let fields: &[(&str, &dyn std::fmt::Display)] = &[("process", &name), ("error", &why)];
        self.log.write(Level::Error, text, fields);
        if matches!(self.stage, Stage::Rising(_)) {
            return match self.parts.sessions {
                Some(_) => self.not_risen(&format_args!("{name}: {why}")),
                // On trial the operator has asked about auth.
                None => self.not_risen(&why),
            };
        }
        if let Some(part) = self.parts.get(id) {
            part.disconnect(&self.starter.events);
        }
        if role != Role::Auth {
            self.tell(&MonitorToSupervisor::Reload);
        }
    }
}
