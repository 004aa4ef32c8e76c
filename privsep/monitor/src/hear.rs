//! What the monitor reads from its children, and what each message leads to.

use crate::monitor::{Monitor, Stage};
use crate::parts::Part;
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

/// A message from a child, by the kind of the child.
enum Heard {
    Front(FrontToMonitor),
    Auth(AuthToMonitor),
    NewerAuth(AuthToMonitor),
    Keys(KeysToMonitor),
    Sessions(SessionsToMonitor, Vec<OwnedFd>),
}

impl Monitor {
    /// Reads at most `most` records of a process.
    pub(crate) fn read_log(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        let leaving = self.leaving.get_mut(&id).map(|(_, process)| process);
        let process = leaving.or_else(|| self.parts.process(id));
        if let Some(process) = process {
            process.read_log(&mut self.log, &self.starter.events, buffer, most);
        }
    }

    /// Reads at most `most` packets of a child's channel.
    pub(crate) fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.receive(id, buffer) {
                None | Some(Err(ChannelError::WouldBlock)) => return,
                Some(Ok(heard)) => self.heard(id, heard),
                Some(Err(ChannelError::Closed)) => return self.closed(id),
                Some(Err(error)) => return self.banish(id, &error),
            }
        }
    }

    /// Receives from the child of this number. `None`: its channel is closed.
    fn receive(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<Heard, ChannelError>> {
        if let Some(sessions) = self.sessions.as_mut().filter(|it| it.id == id) {
            let heard = sessions.channel.as_mut()?.receive(buffer);
            return Some(heard.map(|(message, files)| Heard::Sessions(message, files)));
        }
        if let Some(front) = self.parts.fronts.get_mut(&id) {
            let heard = front.part.channel.as_mut()?.receive(buffer);
            return Some(heard.map(|(message, _)| Heard::Front(message)));
        }
        if let Some(auth) = self.newer_auths.get_mut(&id) {
            let heard = auth.receive(buffer);
            return Some(heard.map(|(message, _)| Heard::NewerAuth(message)));
        }
        if let Some(auth) = self.parts.auth.as_mut().filter(|auth| auth.id == id) {
            let heard = auth.channel.as_mut()?.receive(buffer);
            return Some(heard.map(|(message, _)| Heard::Auth(message)));
        }
        let keys = self.parts.keys.as_mut().filter(|keys| keys.id == id)?;
        let heard = keys.channel.as_mut()?.receive(buffer);
        Some(heard.map(|(message, _)| Heard::Keys(message)))
    }

    /// A child has closed its channel, so it can be told nothing more. It is killed, and another
    /// one is started.
    fn closed(&mut self, id: ChildId) {
        if let Some(auth) = self.newer_auths.remove(&id) {
            return self.starter.events.forget(auth.as_fd());
        }
        self.disconnect(id);
        if self.serves() || matches!(self.stage, Stage::Rising(_)) {
            self.process(id)
                .into_iter()
                .for_each(|process| process.kill());
        }
    }

    fn heard(&mut self, id: ChildId, heard: Heard) {
        match heard {
            Heard::Front(FrontToMonitor::Ready { version })
            | Heard::Auth(AuthToMonitor::Ready { version })
            | Heard::Keys(KeysToMonitor::Ready { version }) => {
                if version == VERSION {
                    self.ready(id);
                } else {
                    self.banish(id, &format_args!("version {version}, not {VERSION}"));
                }
            }
            Heard::Front(FrontToMonitor::Unusable { key, why }) => {
                let why = key.map_or(why.to_string(), |key| self.about_key(key, why.as_str()));
                self.unusable(id, &why);
            }
            Heard::Keys(KeysToMonitor::Unusable { key, why }) => {
                self.unusable(id, &self.about_key(key, why.as_str()));
            }
            Heard::Auth(AuthToMonitor::Unusable(why)) => self.unusable(id, why.as_str()),
            Heard::Front(FrontToMonitor::Drained) => {
                if let Some(front) = self.parts.fronts.get_mut(&id) {
                    front.drained = true;
                }
                self.tidy();
            }
            Heard::Auth(AuthToMonitor::Converse(number, kind)) => self.converse(id, number, kind),
            Heard::Auth(AuthToMonitor::BrokeRules(front))
            | Heard::NewerAuth(AuthToMonitor::BrokeRules(front))
            | Heard::Keys(KeysToMonitor::BrokeRules(front)) => self.broke_rules(front),
            Heard::Keys(KeysToMonitor::Loaded(facts)) => self.loaded(id, &facts),
            Heard::Sessions(message, files) => self.heard_sessions(message, files),
            Heard::NewerAuth(
                AuthToMonitor::Ready { .. }
                | AuthToMonitor::Unusable(_)
                | AuthToMonitor::Converse(..),
            ) => self.closed(id),
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
            let id = front.part.id;
            self.banish(id, &"another process has broken off with it");
        }
    }

    fn heard_sessions(&mut self, message: SessionsToMonitor, files: Vec<OwnedFd>) {
        let Some(id) = self.sessions.as_ref().map(|sessions| sessions.id) else {
            return;
        };
        match message {
            SessionsToMonitor::Ready { version } if version == VERSION => {
                self.starter.empty = files.into_iter().next();
                self.sessions.iter_mut().for_each(Part::enter_service);
                self.advance();
            }
            SessionsToMonitor::Ready { version } => {
                self.banish(id, &format_args!("version {version}, not {VERSION}"));
            }
            SessionsToMonitor::Unusable(why) => self.not_risen(&why),
            SessionsToMonitor::BrokeRules(Peer::Auth, error) => {
                if let Some(id) = self.parts.auth.as_ref().map(|auth| auth.id) {
                    self.banish(id, &error);
                }
            }
            SessionsToMonitor::BrokeRules(Peer::Front(front), error) => {
                if let Some(id) = self.front(front).map(|front| front.part.id) {
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

    fn ready(&mut self, id: ChildId) {
        self.parts.enter_service(id);
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
            return match self.sessions {
                Some(_) => self.not_risen(&format_args!("{name}: {why}")),
                // On trial the operator has asked about auth.
                None => self.not_risen(&why),
            };
        }
        self.disconnect(id);
        if role != Role::Auth {
            self.tell(&MonitorToSupervisor::Reload);
        }
    }
}
