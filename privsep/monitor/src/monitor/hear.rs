//! What the monitor reads from its children, and what each message leads to.

use super::{
    AsFd, ChannelError, ChildId, Fault, FrontId, Level, Monitor, MonitorToFront, Packet,
    PacketBuffer, Role, Stage, Task, VERSION, WorkerToMonitor,
};
use crate::config::Drafted;
use crate::generation::Generation;
use crate::reader;
use crate::sessions::Progress;
use popward_proto::monitor_auth::AuthToMonitor;
use popward_proto::monitor_front::FrontToMonitor;
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor};
use std::fmt::Display;

impl Monitor {
    /// Reads at most `most` records of a process.
    pub(super) fn read_log(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            let Some(process) = self.process(id) else {
                return;
            };
            let origin = process.origin();
            match process.log.receive(buffer) {
                Ok(Packet::Message(record, _)) => self.log.record(origin, &record),
                Err(ChannelError::WouldBlock) => return,
                // A process that speaks no log is heard no more; its other channel decides about its life.
                Ok(Packet::Data { .. }) | Err(_) => {
                    let log = process.log.as_fd().try_clone_to_owned();
                    return log
                        .into_iter()
                        .for_each(|log| self.starter.events.forget(log));
                }
            }
        }
    }

    /// Reads at most `most` packets of a process's channel.
    pub(super) fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.receive(id, buffer) {
                None | Some(Err(ChannelError::WouldBlock)) => return,
                Some(Ok(heard)) => self.heard(id, heard),
                Some(Err(ChannelError::Closed)) => return self.closed(id),
                Some(Err(error)) => return self.banish(id, &error),
            }
        }
    }

    fn receive(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<Heard, ChannelError>> {
        if let Some(worker) = self.workers.get_mut(&id) {
            let packet = worker.channel.receive(buffer);
            return Some(packet.map(|packet| heard(packet, Heard::Worker)));
        }
        if let Some((_, reading)) = self.reading.as_mut().filter(|(reading, _)| *reading == id) {
            let drafted = reader::hear(&mut reading.channel, &mut reading.draft, buffer);
            return Some(drafted.map(Heard::Config));
        }
        let mut generations = self.generations();
        generations.find_map(|generation| receive(generation, id, buffer))
    }

    /// A child has closed its channel, so it can be told nothing more. It is killed, and another one is
    /// started. A worker ends by itself.
    fn closed(&mut self, id: ChildId) {
        let events = &self.starter.events;
        if let Some(worker) = self.workers.get(&id) {
            return events.forget(worker.channel.as_fd());
        }
        if let Some((_, reading)) = self.reading.as_ref().filter(|(reading, _)| *reading == id) {
            return events.forget(reading.channel.as_fd());
        }
        self.disconnect(id);
        if matches!(self.stage, Stage::Starting | Stage::Serving) {
            if let Some(process) = self.process(id) {
                process.kill();
            }
        }
    }

    fn disconnect(&mut self, id: ChildId) {
        let rising = self.rising.as_mut().map(|(_, rising)| rising);
        let mut all = self.old.iter_mut().chain(&mut self.current).chain(rising);
        all.any(|generation| generation.disconnect(id, &self.starter.events));
    }

    /// Ends a child that broke the rules of its channel, or does not read it.
    pub(super) fn banish(&mut self, id: ChildId, error: &dyn Display) {
        if let Some(worker) = self.workers.get(&id) {
            self.starter.events.forget(worker.channel.as_fd());
        }
        self.disconnect(id);
        let Some(process) = self.process(id) else {
            return;
        };
        process.kill();
        let origin = process.origin();
        let fields: &[(&str, &dyn Display)] = &[
            ("process", &origin.role),
            ("pid", &origin.pid),
            ("error", error),
        ];
        let text = "broke the rules of its channel: killed";
        self.log.write(Level::Error, text, fields);
    }

    pub(super) fn banish_all(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for (id, error) in faults {
            self.banish(id, &error);
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
                    self.banish(id, &format!("version {version}, not {VERSION}"));
                }
            }
            Heard::Front(FrontToMonitor::Unusable { key, why }) => {
                let of = self
                    .generations()
                    .find(|generation| generation.fronts.contains_key(&id));
                let path = of.zip(key).map(|(of, key)| of.key_path(key));
                let why = path.map_or(why.to_string(), |path| format!("{path}: {why}"));
                self.unusable(id, &why);
            }
            Heard::Auth(AuthToMonitor::Unusable(why)) => self.unusable(id, why.as_str()),
            Heard::Keys(KeysToMonitor::Unusable { key, why }) => {
                let has =
                    |of: &&mut Generation| of.keys.as_ref().is_some_and(|(keys, _)| *keys == id);
                let path = self.generations().find(has).map(|of| of.key_path(key));
                self.unusable(id, &format!("{}: {why}", path.unwrap_or_default()));
            }
            Heard::Front(FrontToMonitor::Drained) => {
                let fronts = self.generations().filter_map(|of| of.fronts.get_mut(&id));
                fronts.for_each(|front| front.drained = true);
                self.tidy();
            }
            Heard::Auth(AuthToMonitor::Drained) => self.auth_drained(id),
            Heard::Auth(AuthToMonitor::Granted { session, account }) => {
                self.granted(session, &account);
            }
            Heard::Auth(AuthToMonitor::BrokeRules(front))
            | Heard::Keys(KeysToMonitor::BrokeRules(front)) => self.broke_rules(front),
            Heard::Keys(KeysToMonitor::Loaded(facts)) => self.loaded(id, &facts),
            Heard::Worker(message) => self.heard_worker(id, message),
            Heard::Config(Drafted::More) => {}
            Heard::Config(Drafted::Whole(config)) => self.was_read(Ok(config)),
            Heard::Config(Drafted::Refused(why)) => self.was_read(Err(why)),
            Heard::Nonsense | Heard::Config(Drafted::Nonsense) => {
                self.banish(id, &"data where there is none");
            }
        }
    }

    /// Another process has broken off with a front. The front gets no other channel, because it cannot be
    /// trusted with the clients that it has.
    fn broke_rules(&mut self, front: FrontId) {
        if let Some((front, _)) = self.front(front) {
            self.banish(front, &"another process has broken off with it");
        }
    }

    fn heard_worker(&mut self, id: ChildId, message: WorkerToMonitor) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let session = &mut worker.session;
        match message {
            WorkerToMonitor::Dotlock { device, inode } => session.dotlock = Some((device, inode)),
            WorkerToMonitor::Updates => session.update = Progress::Begun,
            // Its own session's update is still to come.
            WorkerToMonitor::Finished if session.task == Task::Serve => {
                session.update = Progress::None;
            }
            WorkerToMonitor::Finished => session.update = Progress::Finished,
        }
    }

    fn ready(&mut self, id: ChildId) {
        for generation in self.generations() {
            if let Some(front) = generation.fronts.get_mut(&id) {
                front.own.enter_service();
            }
            if let Some((_, auth)) = generation.auth.as_mut().filter(|(auth, _)| *auth == id) {
                auth.enter_service();
            }
            if let Some((_, keys)) = generation.keys.as_mut().filter(|(keys, _)| *keys == id) {
                keys.enter_service();
            }
        }
        // One that was started again: the others accept already.
        let again = self
            .current
            .as_ref()
            .and_then(|current| current.fronts.get(&id));
        if let Some(Err(error)) = again.map(|front| front.own.send(&MonitorToFront::Accept, &[])) {
            self.banish(id, &error);
        }
        self.advance();
    }

    fn loaded(&mut self, id: ChildId, facts: &KeyFacts) {
        let mut as_before = true;
        for generation in self.generations() {
            if generation
                .keys
                .as_ref()
                .is_some_and(|(keys, _)| *keys == id)
            {
                let known = generation
                    .facts
                    .entry(facts.key.0)
                    .or_insert_with(|| facts.clone());
                as_before &= known == facts;
            }
        }
        if as_before {
            return self.advance();
        }
        self.unusable(id, "the key's file has another key now than the one in use");
    }

    /// A child cannot use what it was given. In the generation in use this is a child that was started again
    /// after its files had changed. So the configuration is read again.
    fn unusable(&mut self, id: ChildId, why: &str) {
        let Some(role) = self.process(id).map(|process| process.role) else {
            return;
        };
        let fields: &[(&str, &dyn Display)] = &[("process", &role.name()), ("error", &why)];
        self.log
            .write(Level::Error, "cannot use what it was given", fields);
        let rises = self
            .rising
            .as_mut()
            .is_some_and(|(_, rising)| rising.process(id).is_some());
        if rises {
            return self.not_risen(&format_args!("{}: {why}", role.name()));
        }
        self.disconnect(id);
        if let Some(process) = self.process(id) {
            process.kill();
        }
        self.wanted |= role != Role::Auth;
    }
}

/// What a child said, by whose channel it came.
enum Heard {
    Front(FrontToMonitor),
    Auth(AuthToMonitor),
    Keys(KeysToMonitor),
    Worker(WorkerToMonitor),
    Config(Drafted),
    Nonsense,
}

fn heard<M>(packet: Packet<'_, M>, of: impl Fn(M) -> Heard) -> Heard {
    match packet {
        Packet::Message(message, _) => of(message),
        Packet::Data { .. } => Heard::Nonsense,
    }
}

/// Receives from the process of this number. `None`: it is not of this generation, or its channel is closed.
fn receive(
    of: &mut Generation,
    id: ChildId,
    buffer: &mut PacketBuffer,
) -> Option<Result<Heard, ChannelError>> {
    if let Some(front) = of.fronts.get_mut(&id) {
        let packet = front.own.channel.as_mut()?.receive(buffer);
        return Some(packet.map(|packet| heard(packet, Heard::Front)));
    }
    if let Some((_, auth)) = of.auth.as_mut().filter(|(auth, _)| *auth == id) {
        let packet = auth.channel.as_mut()?.receive(buffer);
        return Some(packet.map(|packet| heard(packet, Heard::Auth)));
    }
    let (_, keys) = of.keys.as_mut().filter(|(keys, _)| *keys == id)?;
    let packet = keys.channel.as_mut()?.receive(buffer);
    Some(packet.map(|packet| heard(packet, Heard::Keys)))
}
