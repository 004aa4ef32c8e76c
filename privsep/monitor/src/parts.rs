//! The parts of a server: its fronts, its auth and its keys.

use crate::config::Config;
use crate::starter::launch;
use nix::errno::Errno;
use popward_parent::connected_child::{AnyChild, ConnectedChild};
use popward_parent::events::{ChildId, Events};
use popward_parent::process::{Process, Starter, send};
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::keys::KeyId;
use popward_proto::listen::ProxyHeaders;
use popward_proto::log_line::Role;
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeyFacts, KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_sessions::{MonitorToSessions, SessionsToMonitor};
use popward_proto::permit::Message;
use popward_proto::setup_phase::SetupPhase;
use popward_records::Logs;
use popward_sys::channel::{Channel, ChannelError, nonblocking_pair, socket_pair};
use popward_sys::front_sockets::{asking_pair, make_listening};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

/// Longest wait of a front for a signature, in seconds.
const SIGNATURE_S: i64 = 10;

/// A child that does not take what it is sent.
pub(crate) type Fault = (ChildId, ChannelError);

/// The channel to an auth.
pub(crate) type AuthChannel = Channel<MonitorToAuth, AuthToMonitor>;

/// Sessions.
pub(crate) type Sessions = ConnectedChild<MonitorToSessions, SessionsToMonitor>;

/// Auth.
pub(crate) type Auth = ConnectedChild<MonitorToAuth, AuthToMonitor>;

/// Keys.
pub(crate) type Keys = ConnectedChild<MonitorToKeys, KeysToMonitor>;

/// A front.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) number: FrontId,
    /// It tells the log when the certificates expire.
    pub(crate) tells_expiry: bool,
    pub(crate) part: ConnectedChild<MonitorToFront, FrontToMonitor>,
    /// Its last connection has ended.
    pub(crate) drained: bool,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    /// Whether TLS begins with the connection.
    pub(crate) tls: bool,
    /// Which connections begin with a PROXY header.
    pub(crate) headers: ProxyHeaders,
}

/// The parts that run.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// `None` once it has ended, and on trial.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) fronts: BTreeMap<ChildId, Front>,
    pub(crate) auth: Option<Auth>,
    pub(crate) keys: Option<Keys>,
    /// What keys says of each key that it has loaded.
    pub(crate) facts: BTreeMap<u16, KeyFacts>,
    pub(crate) logs: Logs,
    /// An empty directory, from sessions. It becomes the root directory of some processes.
    pub(crate) empty: Option<OwnedFd>,
}

impl Parts {
    fn start<S: Message, R: Message<Phase = SetupPhase>>(
        &mut self,
        config: &Config,
        starter: &mut Starter,
        role: Role,
    ) -> Result<ConnectedChild<S, R>, Errno> {
        let launch = launch(config, role, &[], self.empty.as_ref())?;
        self.logs
            .start(starter, &launch, None, &[], SetupPhase::Starting)
    }

    /// Starts auth. A fault names the child that does not read.
    pub(crate) fn start_auth(
        &mut self,
        config: &Config,
        starter: &mut Starter,
    ) -> Result<Option<Fault>, Errno> {
        let auth = self.start(config, starter, Role::Auth)?;
        let auth = self.auth.insert(auth);
        let all = config.for_auth();
        let sent = all.iter().try_for_each(|message| auth.send(message, &[]));
        if let Err(error) = sent {
            return Ok(Some((auth.id(), error)));
        }
        let told = (&MonitorToSessions::Auth, &MonitorToAuth::Sessions);
        let sessions = self.sessions.as_ref();
        let fault = sessions.and_then(|it| introduce(it, auth, told, socket_pair()));
        if fault.is_some() {
            return Ok(fault);
        }
        let channel = auth.channel.as_ref().map(|channel| (auth.id(), channel));
        let mut fronts = self.fronts.values();
        Ok(fronts.find_map(|front| introduce_to_auth(front, channel)))
    }

    /// Starts keys.
    pub(crate) fn start_keys(
        &mut self,
        config: &Config,
        starter: &mut Starter,
    ) -> Result<Option<Fault>, Errno> {
        let keys = self.start(config, starter, Role::Keys)?;
        let keys = self.keys.insert(keys);
        let settings = MonitorToKeys::Settings {
            version: VERSION,
            ticket_ms: config.base.front.tls.ticket_ms,
        };
        let mut sent = keys.send(&settings, &[]);
        for (number, certificate) in (0..).zip(&config.certificates) {
            let key = MonitorToKeys::Key(KeyId(number));
            sent = sent.and_then(|()| keys.send(&key, &[certificate.key.as_fd()]));
        }
        if let Err(error) = sent {
            return Ok(Some((keys.id(), error)));
        }
        let mut fronts = self.fronts.values();
        Ok(fronts.find_map(|front| introduce_to_keys(front, keys)))
    }

    /// Starts a front with this number.
    pub(crate) fn start_front(
        &mut self,
        config: &Config,
        starter: &mut Starter,
        (number, connections_known): (FrontId, bool),
        listeners: &[Listener],
    ) -> Result<Option<Fault>, Errno> {
        let front = Front {
            number,
            tells_expiry: !self.fronts.values().any(|front| front.tells_expiry),
            part: self.start(config, starter, Role::Front)?,
            drained: false,
        };
        let id = front.part.id();
        self.fronts.insert(id, front);
        let Some(front) = self.fronts.get(&id) else {
            return Ok(None);
        };
        if let Err(error) = self.furnish(config, front, connections_known, listeners) {
            return Ok(Some((id, error)));
        }
        let auth = self.auth.as_ref();
        let auth = auth.and_then(|auth| Some((auth.id(), auth.channel.as_ref()?)));
        let told = (&MonitorToSessions::Front(number), &MonitorToFront::Sessions);
        let sessions = self.sessions.as_ref();
        let fault = sessions
            .and_then(|it| introduce(it, &front.part, told, nonblocking_pair()))
            .or_else(|| introduce_to_auth(front, auth))
            .or_else(|| introduce_to_keys(front, self.keys.as_ref()?))
            .or_else(|| {
                let sent = front.part.send(&MonitorToFront::Serve, &[]);
                sent.err().map(|error| (id, error))
            });
        Ok(fault)
    }

    /// Gives a front its settings, the listening sockets and the certificates.
    fn furnish(
        &self,
        config: &Config,
        front: &Front,
        connections_known: bool,
        listeners: &[Listener],
    ) -> Result<(), ChannelError> {
        let mut settings = config.base.front.clone();
        (settings.front, settings.tells_expiry) = (front.number, front.tells_expiry);
        settings.connections_known |= connections_known;
        let settings = MonitorToFront::Settings(Box::new(settings));
        front.part.send(&settings, &[])?;
        for listener in listeners {
            // The front before may have damaged it.
            make_listening(&listener.socket).map_err(ChannelError::System)?;
            let (tls, headers) = (listener.tls, listener.headers);
            let message = MonitorToFront::Listener { tls, headers };
            front.part.send(&message, &[listener.socket.as_fd()])?;
        }
        if let Some(file) = &config.client_ca {
            let message = MonitorToFront::ClientAuthorities;
            front.part.send(&message, &[file.as_fd()])?;
        }
        for (number, certificate) in (0..).zip(&config.certificates) {
            if let Some(facts) = self.facts.get(&number) {
                let message = MonitorToFront::Certificate(facts.clone());
                front.part.send(&message, &[certificate.chain.as_fd()])?;
            }
        }
        Ok(())
    }

    /// Whether auth and keys can serve, so that fronts can be started.
    pub(crate) fn have_what_fronts_need(&self, config: &Config) -> bool {
        let auth = self.auth.as_ref().is_some_and(serves);
        let keys = self.keys.as_ref().is_some_and(serves);
        auth && keys && self.facts.len() == config.certificates.len()
    }

    /// Whether all parts can serve.
    pub(crate) fn are_ready(&self, config: &Config) -> bool {
        let fronts = self.fronts.values().filter(|front| serves(&front.part));
        self.have_what_fronts_need(config) && fronts.count() == config.base.fronts as usize
    }

    /// The first part that has not said that it can serve.
    pub(crate) fn late(&self, config: &Config) -> Role {
        if !self.auth.as_ref().is_some_and(serves) {
            Role::Auth
        } else if self.have_what_fronts_need(config) {
            Role::Front
        } else {
            Role::Keys
        }
    }

    /// The part of this number.
    pub(crate) fn get(&mut self, id: ChildId) -> Option<&mut dyn AnyChild> {
        if let Some(front) = self.fronts.get_mut(&id) {
            return Some(&mut front.part);
        }
        let sessions = self.sessions.as_mut().map(|it| it as &mut dyn AnyChild);
        let auth = self.auth.as_mut().map(|it| it as &mut dyn AnyChild);
        let keys = self.keys.as_mut().map(|it| it as &mut dyn AnyChild);
        let mut others = [sessions, auth, keys].into_iter().flatten();
        others.find_map(|part| (part.process().id() == id).then_some(part))
    }

    /// Takes a part out, with its channel closed. Sessions stays.
    pub(crate) fn take(&mut self, id: ChildId, events: &Events) -> Option<Process> {
        self.get(id)?.disconnect(events);
        let front = self.fronts.remove(&id).map(|front| front.part.process);
        let auth = self.auth.take_if(|auth| auth.id() == id);
        let keys = self.keys.take_if(|keys| keys.id() == id);
        front
            .or(auth.map(|auth| auth.process))
            .or(keys.map(|keys| keys.process))
    }

    /// The numbers of all parts but sessions.
    pub(crate) fn ids(&self) -> Vec<ChildId> {
        let auth = self.auth.as_ref().map(ConnectedChild::id);
        let keys = self.keys.as_ref().map(ConnectedChild::id);
        let fronts = self.fronts.keys().copied();
        fronts.chain(auth).chain(keys).collect()
    }
}

/// Whether a part has said that it can serve.
pub(crate) fn serves<S: Message, R: Message<Phase = SetupPhase>>(
    part: &ConnectedChild<S, R>,
) -> bool {
    let phase = part.channel.as_ref().map(Channel::phase);
    phase == Some(SetupPhase::Serving)
}

/// Gives a front and an auth a channel to each other.
pub(crate) fn introduce_to_auth(
    front: &Front,
    auth: Option<(ChildId, &AuthChannel)>,
) -> Option<Fault> {
    let told = MonitorToAuth::Front(front.number);
    let told = (&told, &MonitorToFront::Auth);
    introduce_over(auth?, &front.part, told, nonblocking_pair())
}

/// Gives a front and keys a channel to each other.
fn introduce_to_keys(front: &Front, keys: &Keys) -> Option<Fault> {
    let told = MonitorToKeys::Front(front.number);
    let told = (&told, &MonitorToFront::Keys);
    let pair = asking_pair(SIGNATURE_S).map(|(front_end, keys_end)| (keys_end, front_end));
    introduce(keys, &front.part, told, pair)
}

/// Gives two parts a channel to each other, if the first one's own channel is open.
fn introduce<S: Message, R: Message, T: Message, U: Message<Phase = SetupPhase>>(
    first: &ConnectedChild<S, R>,
    second: &ConnectedChild<T, U>,
    told: (&S, &T),
    pair: nix::Result<(OwnedFd, OwnedFd)>,
) -> Option<Fault> {
    introduce_over((first.id(), first.channel.as_ref()?), second, told, pair)
}

fn introduce_over<S: Message, R: Message, T: Message, U: Message<Phase = SetupPhase>>(
    (id, first): (ChildId, &Channel<S, R>),
    second: &ConnectedChild<T, U>,
    (first_is_told, second_is_told): (&S, &T),
    pair: nix::Result<(OwnedFd, OwnedFd)>,
) -> Option<Fault> {
    let (first_end, second_end) = match pair {
        Ok(pair) => pair,
        Err(errno) => return Some((second.id(), ChannelError::System(errno))),
    };
    if let Err(error) = send(first, first_is_told, &[first_end.as_fd()]) {
        return Some((id, error));
    }
    let sent = second.send(second_is_told, &[second_end.as_fd()]);
    sent.err().map(|error| (second.id(), error))
}
