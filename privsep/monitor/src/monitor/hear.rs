//! What the monitor reads from its children, and what each message leads to.

use super::{
    Account, AsFd, AuthToMonitor, ChannelError, ChildId, FrontId, FrontToMonitor, KeyFacts,
    KeysToMonitor, Level, Link, Monitor, Packet, Process, Role, SessionId, SetupPhase, Stage,
    StartError, TURN, VERSION, WorkerToMonitor,
};
use crate::config::Drafted;
use crate::reader;
use crate::sessions::Progress;

impl Monitor {
    pub(super) fn read_log(&mut self, id: ChildId) {
        for _ in 0..TURN {
            let Some(process) = self.processes.get_mut(&id) else {
                return;
            };
            match process.log.receive(&mut self.buffer) {
                Ok(Packet::Message(record, _)) => self.log.record(process.origin(), &record),
                Err(ChannelError::WouldBlock) => return,
                // A process that speaks no log is heard no more; its other channel decides about its life.
                Ok(Packet::Data { .. }) | Err(_) => return self.events.forget(process.log.as_fd()),
            }
        }
    }

    pub(super) fn read_control(&mut self, id: ChildId) {
        for _ in 0..TURN {
            let Some(process) = self.processes.get_mut(&id) else {
                return;
            };
            let Some(link) = &mut process.link else {
                return;
            };
            let buffer = &mut self.buffer;
            let result = match link {
                Link::Front(front) => front.channel.receive(buffer).map(Heard::of_front),
                Link::Auth { channel, .. } => channel.receive(buffer).map(Heard::of_auth),
                Link::Keys { channel, .. } => channel.receive(buffer).map(Heard::of_keys),
                Link::Worker { channel, .. } => channel.receive(buffer).map(Heard::of_worker),
                Link::Config { channel, draft } => {
                    reader::hear(channel, draft, buffer).map(Heard::OfConfig)
                }
            };
            match result {
                Ok(heard) => self.heard(id, heard),
                Err(ChannelError::WouldBlock) => return,
                Err(ChannelError::Closed) => {
                    // Who lives without it can be told nothing any more: another one can, when this one has ended. A worker ends
                    // by itself, or in its time.
                    if self.stage == Stage::Serving && process.role != Role::Worker {
                        process.kill();
                    }
                    let link = process.link.as_ref().map(Link::as_fd);
                    return link.into_iter().for_each(|fd| self.events.forget(fd));
                }
                Err(error) => return self.banish(id, &error),
            }
        }
    }

    /// Ends a child that broke the rules of its channel, or does not read it.
    pub(super) fn banish(&mut self, id: ChildId, error: &dyn std::fmt::Display) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let origin = process.origin();
        process.link = match process.link.take() {
            // What is left behind is still to be cleared away when it has ended.
            Some(link @ Link::Worker { .. }) => {
                self.events.forget(link.as_fd());
                Some(link)
            }
            _ => None,
        };
        process.kill();
        let fields: &[(&str, &dyn std::fmt::Display)] = &[
            ("process", &origin.role),
            ("pid", &origin.pid),
            ("error", error),
        ];
        self.log.write(
            Level::Error,
            "broke the rules of its channel: killed",
            fields,
        );
    }

    fn heard(&mut self, id: ChildId, heard: Heard) {
        match heard {
            Heard::Ready(version) if version == VERSION => self.ready(id),
            Heard::Ready(version) => self.banish(id, &format!("version {version}, not {VERSION}")),
            Heard::Unusable(why) => self.unusable(id, &why),
            Heard::Drained => {
                if let Some(Process {
                    link: Some(Link::Front(front)),
                    ..
                }) = self.processes.get_mut(&id)
                {
                    front.drained = true;
                }
            }
            Heard::Granted(session, account) => self.granted(session, &account),
            Heard::BrokeRules(front) => {
                // It gets no other channel: it is not to be trusted with the clients that it has.
                if let Some(front) = self.front_child(front) {
                    self.banish(front, &"another process has broken off with it");
                }
            }
            Heard::Loaded(facts) => {
                self.keys.insert(facts.key.0, facts);
                self.key_answered();
                self.advance();
            }
            Heard::NotLoaded(why) => {
                self.unusable(id, &why);
                self.key_answered();
            }
            Heard::OfWorker(message) => {
                let Some(Process {
                    link: Some(Link::Worker { session, .. }),
                    ..
                }) = self.processes.get_mut(&id)
                else {
                    return;
                };
                match message {
                    WorkerToMonitor::Dotlock { device, inode } => {
                        session.dotlock = Some((device, inode));
                    }
                    WorkerToMonitor::Updates => session.update = Progress::Begun,
                    // Its own session's update is still to come.
                    WorkerToMonitor::Finished if session.task == super::Task::Serve => {
                        session.update = Progress::None;
                    }
                    WorkerToMonitor::Finished => session.update = Progress::Finished,
                }
            }
            Heard::OfConfig(Drafted::More) => {}
            Heard::OfConfig(Drafted::Whole(config)) => self.was_read(id, Ok(config)),
            Heard::OfConfig(Drafted::Refused(why)) => self.was_read(id, Err(why)),
            Heard::Nonsense | Heard::OfConfig(Drafted::Nonsense) => {
                self.banish(id, &"data where there is none");
            }
        }
    }

    /// Keys has answered for one more key. With the last one, fronts get the certificates, if they serve already.
    fn key_answered(&mut self) {
        self.keys_due = self.keys_due.saturating_sub(1);
        if self.keys_due > 0 || self.stage != Stage::Serving {
            return;
        }
        for front in self.fronts() {
            if let Err(error) = self.send_certificates(front) {
                self.banish(front, &error);
            }
        }
    }

    pub(super) fn ready(&mut self, id: ChildId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        match &mut process.link {
            Some(Link::Front(front)) => {
                front.ready = true;
                front.channel.enter(SetupPhase::Serving);
            }
            Some(Link::Auth { channel, ready }) => {
                *ready = true;
                channel.enter(SetupPhase::Serving);
                self.auth_answered(None);
            }
            Some(Link::Keys { channel, ready }) => {
                *ready = true;
                channel.enter(SetupPhase::Serving);
            }
            Some(Link::Worker { .. } | Link::Config { .. }) | None => {}
        }
        self.advance();
    }

    pub(super) fn unusable(&mut self, id: ChildId, why: &str) {
        let role = self.processes.get(&id).map(|process| process.role);
        if role == Some(Role::Auth) && self.auth_answered(Some(why)) {
            return;
        }
        self.refused |= role != Some(Role::Auth);
        let role = role.map_or("", Role::name);
        self.log.write(
            Level::Error,
            "cannot use what it was given",
            &[("process", &role), ("error", &why)],
        );
        self.fail(StartError::Child(format!("{role}: {why}")));
    }
}

/// What a child said, whichever it is: each kind comes over one role's channel only, as its enum says.
enum Heard {
    Ready(u32),
    Unusable(String),
    Drained,
    Granted(SessionId, Account),
    BrokeRules(FrontId),
    Loaded(KeyFacts),
    NotLoaded(String),
    OfWorker(WorkerToMonitor),
    OfConfig(Drafted),
    Nonsense,
}

impl Heard {
    fn of_front(packet: Packet<'_, FrontToMonitor>) -> Self {
        match packet {
            Packet::Message(FrontToMonitor::Ready { version }, _) => Self::Ready(version),
            Packet::Message(FrontToMonitor::Unusable(why), _) => Self::Unusable(why.into()),
            Packet::Message(FrontToMonitor::Drained, _) => Self::Drained,
            Packet::Data { .. } => Self::Nonsense,
        }
    }

    fn of_auth(packet: Packet<'_, AuthToMonitor>) -> Self {
        match packet {
            Packet::Message(AuthToMonitor::Ready { version }, _) => Self::Ready(version),
            Packet::Message(AuthToMonitor::Unusable(why), _) => Self::Unusable(why.into()),
            Packet::Message(AuthToMonitor::Granted { session, account }, _) => {
                Self::Granted(session, account)
            }
            Packet::Message(AuthToMonitor::BrokeRules(front), _) => Self::BrokeRules(front),
            Packet::Data { .. } => Self::Nonsense,
        }
    }

    fn of_keys(packet: Packet<'_, KeysToMonitor>) -> Self {
        match packet {
            Packet::Message(KeysToMonitor::Ready { version }, _) => Self::Ready(version),
            Packet::Message(KeysToMonitor::Loaded(facts), _) => Self::Loaded(facts),
            Packet::Message(KeysToMonitor::Unusable { why, .. }, _) => Self::NotLoaded(why.into()),
            Packet::Message(KeysToMonitor::BrokeRules(front), _) => Self::BrokeRules(front),
            Packet::Data { .. } => Self::Nonsense,
        }
    }

    #[allow(clippy::needless_pass_by_value)] // Like its siblings.
    fn of_worker(packet: Packet<'_, WorkerToMonitor>) -> Self {
        match packet {
            Packet::Message(message, _) => Self::OfWorker(message),
            Packet::Data { .. } => Self::Nonsense,
        }
    }
}
