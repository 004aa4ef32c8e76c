//! A generation: the fronts, the auth and the keys of one configuration. A reload starts another one.
//!
//! The monitor has the listening sockets. All generations accept from the same ones, so that no socket is
//! closed in between.

use crate::children::{Auth, Connected, Front, Keys, Nursery, Process, Role};
use crate::config::Config;
use crate::events::{ChildId, Events};
use crate::listeners::Listener;
use nix::errno::Errno;
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::keys::KeyId;
use popward_proto::monitor_auth::MonitorToAuth;
use popward_proto::monitor_auth::SetupPhase;
use popward_proto::monitor_front::MonitorToFront;
use popward_proto::monitor_keys::{KeyFacts, MonitorToKeys};
use popward_proto::permit::Message;
use popward_sys::channel::{ChannelError, socket_pair};
use popward_sys::spawn::ChildIdentity;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

/// A child that does not take what it is sent.
pub(crate) type Fault = (ChildId, ChannelError);

/// What is needed to start the processes of a generation.
#[derive(Debug)]
pub(crate) struct Starter {
    pub(crate) nursery: Nursery,
    pub(crate) events: Events,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) children: u32,
    pub(crate) fronts: u32,
    /// `limits.connections` of the front that was started last.
    pub(crate) connections: Option<u32>,
}

impl Starter {
    /// A number for the next child.
    pub(crate) fn next_id(&mut self) -> ChildId {
        self.children += 1;
        ChildId(self.children)
    }

    fn start<S, R>(
        &mut self,
        config: &Config,
        role: Role,
    ) -> Result<(ChildId, Connected<S, R>), Errno>
    where
        S: Message,
        R: Message<Phase = SetupPhase>,
    {
        let identity = config.accounts.map(|accounts| {
            let (uid, gid) = match role {
                Role::Front => accounts.front,
                Role::Keys => accounts.keys,
                _ => accounts.auth,
            };
            ChildIdentity {
                uid,
                gid,
                effective_gid: gid,
                groups: Vec::new(),
                keep_chroot: role != Role::Auth,
            }
        });
        let (child, sockets) =
            self.nursery
                .start(config, (role, &[role.executable()]), identity.as_ref(), &[])?;
        let id = self.next_id();
        Ok((
            id,
            Connected::adopt(&self.events, id, (role, child, sockets))?,
        ))
    }
}

/// The processes of one configuration.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) config: Rc<Config>,
    pub(crate) fronts: BTreeMap<ChildId, Front>,
    pub(crate) auth: Option<(ChildId, Auth)>,
    pub(crate) keys: Option<(ChildId, Keys)>,
    /// What keys says of each key that it has loaded.
    pub(crate) facts: BTreeMap<u16, KeyFacts>,
    /// Until when its auth may hand over what it remembers, after a reload.
    pub(crate) hands_over_until: Option<Instant>,
}

impl Generation {
    /// None of its processes yet.
    pub(crate) fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            fronts: BTreeMap::new(),
            auth: None,
            keys: None,
            facts: BTreeMap::new(),
            hands_over_until: None,
        }
    }

    /// Starts its process of this role, unless it has one. A fault names the child that does not read.
    pub(crate) fn start(
        &mut self,
        role: Role,
        starter: &mut Starter,
    ) -> Result<Option<Fault>, Errno> {
        match role {
            Role::Auth if self.auth.is_none() => self.start_auth(starter),
            Role::Keys if self.keys.is_none() => self.start_keys(starter),
            Role::Front if self.fronts.len() < self.config.fronts as usize => {
                self.start_front(starter)
            }
            _ => Ok(None),
        }
    }

    fn start_auth(&mut self, starter: &mut Starter) -> Result<Option<Fault>, Errno> {
        let (id, auth): (_, Auth) = starter.start(&self.config, Role::Auth)?;
        let all = self.config.for_auth();
        let sent = all.iter().try_for_each(|message| auth.send(message, &[]));
        let (_, auth) = self.auth.insert((id, auth));
        if let Err(error) = sent {
            return Ok(Some((id, error)));
        }
        let mut fronts = self.fronts.iter();
        Ok(fronts.find_map(|front| introduce_auth(front, (id, auth))))
    }

    fn start_keys(&mut self, starter: &mut Starter) -> Result<Option<Fault>, Errno> {
        let (id, keys): (_, Keys) = starter.start(&self.config, Role::Keys)?;
        let settings = MonitorToKeys::Settings {
            version: VERSION,
            ticket_ms: self.config.front.tls.ticket_ms,
        };
        let mut sent = keys.send(&settings, &[]);
        for (number, certificate) in (0..).zip(self.config.certificates.iter()) {
            let key = MonitorToKeys::Key(KeyId(number));
            sent = sent.and_then(|()| keys.send(&key, &[certificate.key.as_fd()]));
        }
        let (_, keys) = self.keys.insert((id, keys));
        if let Err(error) = sent {
            return Ok(Some((id, error)));
        }
        let mut fronts = self.fronts.iter();
        Ok(fronts.find_map(|front| introduce_keys(front, (id, keys))))
    }

    fn start_front(&mut self, starter: &mut Starter) -> Result<Option<Fault>, Errno> {
        let (child, own) = starter.start(&self.config, Role::Front)?;
        starter.fronts += 1;
        let id = FrontId(starter.fronts);
        let drained = false;
        let front = Front { id, own, drained };
        let connections = self.config.front.limits.connections;
        let known = starter.connections.replace(connections) == Some(connections);
        let furnished = self.furnish(&front, known, &starter.listeners);
        let front = (&child, self.fronts.entry(child).or_insert(front) as &Front);
        if let Err(error) = furnished {
            return Ok(Some((child, error)));
        }
        let auth = self
            .auth
            .as_ref()
            .and_then(|(id, auth)| introduce_auth(front, (*id, auth)));
        let keys = || {
            self.keys
                .as_ref()
                .and_then(|(id, keys)| introduce_keys(front, (*id, keys)))
        };
        let serve = || front.1.own.send(&MonitorToFront::Serve, &[]).err();
        Ok(auth
            .or_else(keys)
            .or_else(|| serve().map(|error| (child, error))))
    }

    /// Gives a front its settings, the listening sockets and the certificates.
    fn furnish(
        &self,
        front: &Front,
        connections_known: bool,
        listeners: &[Listener],
    ) -> Result<(), ChannelError> {
        let mut settings = self.config.front.clone();
        settings.front = front.id;
        settings.connections_known = connections_known;
        front
            .own
            .send(&MonitorToFront::Settings(Box::new(settings)), &[])?;
        for listener in listeners {
            let (tls, headers) = (listener.tls, listener.headers);
            let message = MonitorToFront::Listener { tls, headers };
            front.own.send(&message, &[listener.socket.as_fd()])?;
        }
        if let Some(file) = &self.config.client_ca {
            front
                .own
                .send(&MonitorToFront::ClientAuthorities, &[file.as_fd()])?;
        }
        for (number, certificate) in (0..).zip(self.config.certificates.iter()) {
            if let Some(facts) = self.facts.get(&number) {
                let message = MonitorToFront::Certificate(facts.clone());
                front.own.send(&message, &[certificate.chain.as_fd()])?;
            }
        }
        Ok(())
    }

    /// Whether auth and keys can serve, so that fronts can be started.
    pub(crate) fn has_what_fronts_need(&self) -> bool {
        let auth = self.auth.as_ref().is_some_and(|(_, auth)| auth.ready);
        let keys = self.keys.as_ref().is_some_and(|(_, keys)| keys.ready);
        auth && keys && self.facts.len() == self.config.certificates.len()
    }

    /// Whether all of it can serve.
    pub(crate) fn is_ready(&self) -> bool {
        let ready = |front: &&Front| front.own.ready;
        let fronts = self.fronts.values().filter(ready).count();
        self.has_what_fronts_need() && fronts == self.config.fronts as usize
    }

    /// The first part that has not said that it can serve.
    pub(crate) fn late_part(&self) -> Role {
        if !self.auth.as_ref().is_some_and(|(_, auth)| auth.ready) {
            Role::Auth
        } else if self.has_what_fronts_need() {
            Role::Front
        } else {
            Role::Keys
        }
    }

    /// Where the key of this number lies, for the log.
    pub(crate) fn key_path(&self, key: KeyId) -> String {
        let certificate = self.config.certificates.get(usize::from(key.0));
        certificate.map_or_else(String::new, |certificate| certificate.key_path.to_string())
    }

    /// The process of this number, if it is one of these.
    pub(crate) fn process(&mut self, id: ChildId) -> Option<&mut Process> {
        if let Some(front) = self.fronts.get_mut(&id) {
            return Some(&mut front.own.process);
        }
        let auth = self.auth.as_mut().filter(|(auth, _)| *auth == id);
        let keys = self.keys.as_mut().filter(|(keys, _)| *keys == id);
        auth.map(|(_, auth)| &mut auth.process)
            .or(keys.map(|(_, keys)| &mut keys.process))
    }

    /// Closes the channel of the process of this number. Returns whether it is one of these.
    pub(crate) fn disconnect(&mut self, id: ChildId, events: &Events) -> bool {
        if let Some(front) = self.fronts.get_mut(&id) {
            front.own.disconnect(events);
        } else if let Some((_, auth)) = self.auth.as_mut().filter(|(auth, _)| *auth == id) {
            auth.disconnect(events);
        } else if let Some((_, keys)) = self.keys.as_mut().filter(|(keys, _)| *keys == id) {
            keys.disconnect(events);
        } else {
            return false;
        }
        true
    }

    /// Takes the process of this number out, with its channel closed.
    pub(crate) fn take(&mut self, id: ChildId, events: &Events) -> Option<Process> {
        self.disconnect(id, events);
        let front = self.fronts.remove(&id).map(|front| front.own.process);
        let auth = self.auth.take_if(|(auth, _)| *auth == id);
        let keys = self.keys.take_if(|(keys, _)| *keys == id);
        front
            .or(auth.map(|(_, auth)| auth.process))
            .or(keys.map(|(_, keys)| keys.process))
    }

    /// The numbers of all its processes.
    pub(crate) fn ids(&self) -> Vec<ChildId> {
        let auth = self.auth.as_ref().map(|(id, _)| *id);
        let keys = self.keys.as_ref().map(|(id, _)| *id);
        self.fronts
            .keys()
            .copied()
            .chain(auth)
            .chain(keys)
            .collect()
    }
}

impl<S: Message, R: Message> Connected<S, R> {
    fn disconnect(&mut self, events: &Events) {
        if let Some(channel) = self.channel.take() {
            events.forget(channel.as_fd());
        }
    }
}

/// Gives a front and auth a channel to each other. Returns the one that does not take its end.
pub(crate) fn introduce_auth(
    front: (&ChildId, &Front),
    (id, auth): (ChildId, &Auth),
) -> Option<Fault> {
    let told = MonitorToAuth::Front(front.1.id);
    introduce(front, &MonitorToFront::Auth, (id, auth), &told)
}

/// The same with keys.
fn introduce_keys(front: (&ChildId, &Front), (id, keys): (ChildId, &Keys)) -> Option<Fault> {
    let told = MonitorToKeys::Front(front.1.id);
    introduce(front, &MonitorToFront::Keys, (id, keys), &told)
}

fn introduce<S: Message, R: Message>(
    (front, to): (&ChildId, &Front),
    front_is_told: &MonitorToFront,
    (id, other): (ChildId, &Connected<S, R>),
    other_is_told: &S,
) -> Option<Fault> {
    other.channel.as_ref()?;
    let (front_end, other_end) = match socket_pair() {
        Ok(pair) => pair,
        Err(errno) => return Some((*front, ChannelError::System(errno))),
    };
    if let Err(error) = other.send(other_is_told, &[other_end.as_fd()]) {
        return Some((id, error));
    }
    let sent = to.own.send(front_is_told, &[front_end.as_fd()]);
    sent.err().map(|error| (*front, error))
}
