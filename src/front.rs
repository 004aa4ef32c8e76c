//! The event loop: listeners, connections, deadlines. It never waits for anybody but in `poll`.

mod arrivals;
mod channels;

use crate::client::Handshake;
use crate::conn::{Conn, Outcome, READ, Turn};
use crate::deadlines::Deadlines;
use crate::end_reason::EndReason;
use crate::handle::{self, Handle};
use crate::limits::{Admission, Said};
use crate::links::{Links, MonitorEnd};
use crate::report;
use crate::slots::{Occupant, Slots};
use crate::tls::handshake::{Job, Threads};
use crate::tls::remote_key::Keys;
use crate::tls::rules::Rules;
use crate::tls::tickets::Tickets;
use mio::event::Event;
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use popward_proto::monitor_front::{FrontSettings, FrontToMonitor, LISTENERS_MAX};
use popward_proto::proxies::ProxyHeaders;
use popward_sys::channel::{ChannelError, PacketBuffer};
use popward_sys::log::Log;
use std::collections::VecDeque;
use std::hash::RandomState;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);
const MONITOR: Token = Token(1);
const AUTH: Token = Token(2);
const LISTENERS: usize = 3;

// The monitor starts with no more of them.
const _: () = assert!(LISTENERS_MAX == handle::FIRST_TOKEN - LISTENERS);

/// What a front is given before it serves.
pub struct Given {
    /// What it may do.
    pub settings: FrontSettings,
    /// Listening sockets.
    pub listeners: Vec<Listening>,
    /// By which rules TLS is spoken; none where there is no certificate.
    pub tls: Option<Rules>,
    /// The tickets of these rules.
    pub tickets: Arc<Tickets>,
    /// The channel to the monitor, in its serving phase.
    pub monitor: MonitorEnd,
    /// The socket to auth.
    pub auth: Option<OwnedFd>,
    /// The way to keys.
    pub keys: Arc<Keys>,
    /// The log.
    pub log: Arc<Log>,
    /// How many threads do handshakes.
    pub threads: usize,
}

/// A listening socket, and what is expected of those who connect to it.
pub struct Listening {
    /// The socket.
    pub socket: std::net::TcpListener,
    /// Whether TLS begins with the connection (RFC 8314).
    pub tls: bool,
    /// Which connections begin with a PROXY header.
    pub headers: ProxyHeaders,
}

/// Why the front ends, other than with its monitor.
#[derive(Debug)]
pub enum FrontError {
    /// A system call failed on which everything hangs.
    System(&'static str, std::io::Error),
}

impl std::fmt::Display for FrontError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

impl std::error::Error for FrontError {}

fn attempt<T>(what: &'static str, result: std::io::Result<T>) -> Result<T, FrontError> {
    result.map_err(|error| FrontError::System(what, error))
}

struct Listener {
    socket: TcpListener,
    tls: bool,
    headers: ProxyHeaders,
    /// Whether somebody may be waiting.
    ready: bool,
    /// Not before then: there were no descriptors left.
    rests: Option<Instant>,
}

/// The network process.
pub struct Front {
    pub(crate) poll: Poll,
    listeners: Vec<Listener>,
    /// Whether the configuration is in use, so that clients are accepted.
    pub(crate) accepting: bool,
    pub(crate) slots: Slots,
    deadlines: Deadlines,
    admission: Admission,
    /// Who has to yield is nobody's to foresee: how often one was drawn, and by which secret.
    drawn: (u64, RandomState),
    pub(crate) said: Said,
    pub(crate) settings: Rc<FrontSettings>,
    /// The host's name in the settings.
    host: Rc<str>,
    pub(crate) tls: Option<Arc<Rules>>,
    pub(crate) links: Links,
    threads: Threads,
    /// Connections that could go on at once.
    again: VecDeque<Handle>,
    pub(crate) packet: PacketBuffer,
    read: Box<[u8]>,
    pub(crate) log: Arc<Log>,
    pub(crate) now: Instant,
    /// Another front has taken over: this one ends with its last connection.
    retired: bool,
    /// When what is left is ended, once the server drains.
    pub(crate) drain: Option<Instant>,
}

impl Front {
    /// Makes the front of what it was given, and starts its threads. It accepts nobody before [`Front::run`].
    pub fn new(given: Given) -> Result<Self, FrontError> {
        let poll = attempt("epoll", Poll::new())?;
        let waker = Arc::new(attempt("waker", Waker::new(poll.registry(), WAKER))?);
        let mut listeners = Vec::new();
        for given in given.listeners.into_iter().take(LISTENERS_MAX) {
            let listener = Self::listen(&poll, listeners.len(), given);
            listeners.push(attempt("listening socket", listener)?);
        }
        let threads = Threads::start(given.threads.max(1), &waker, &given.tickets);
        let links = Links::new(given.monitor, given.keys);
        let mut front = Self {
            threads: attempt("threads", threads)?,
            listeners,
            accepting: false,
            slots: Slots::new(given.settings.front),
            deadlines: Deadlines::default(),
            admission: Admission::default(),
            drawn: (0, RandomState::new()),
            said: Said::default(),
            host: given.settings.host.as_str().into(),
            settings: Rc::new(given.settings),
            tls: given.tls.map(Arc::new),
            links,
            again: VecDeque::new(),
            packet: PacketBuffer::for_data(),
            read: vec![0; READ].into_boxed_slice(),
            log: given.log,
            now: Instant::now(),
            retired: false,
            drain: None,
            poll,
        };
        let monitor = front.links.monitor.channel.as_fd().as_raw_fd();
        attempt("monitor's channel", front.register(monitor, MONITOR))?;
        if let Some(auth) = given.auth {
            front.use_auth(auth);
        }
        Ok(front)
    }

    fn listen(poll: &Poll, number: usize, given: Listening) -> std::io::Result<Listener> {
        given.socket.set_nonblocking(true)?;
        let mut socket = TcpListener::from_std(given.socket);
        let token = Token(LISTENERS + number);
        poll.registry()
            .register(&mut socket, token, Interest::READABLE)?;
        Ok(Listener {
            socket,
            tls: given.tls,
            headers: given.headers,
            ready: false,
            rests: None,
        })
    }

    fn register(&self, descriptor: std::os::fd::RawFd, token: Token) -> std::io::Result<()> {
        let mut source = SourceFd(&descriptor);
        self.poll
            .registry()
            .register(&mut source, token, Interest::READABLE)
    }

    /// Watches a new channel to auth.
    pub(crate) fn watch_auth(&self, descriptor: std::os::fd::RawFd) -> std::io::Result<()> {
        self.register(descriptor, AUTH)
    }

    /// Watches a session's socket.
    pub(crate) fn watch_session(
        &self,
        descriptor: std::os::fd::RawFd,
        slot: usize,
    ) -> std::io::Result<()> {
        self.register(descriptor, handle::worker_token(slot))
    }

    /// Tells the monitor that this process is confined and accepts from now on.
    pub fn ready(&self) -> Result<(), ChannelError> {
        let version = popward_proto::VERSION;
        let monitor = &self.links.monitor.channel;
        monitor.send(&FrontToMonitor::Ready { version })
    }

    /// Serves until the monitor has gone.
    pub fn run(&mut self) -> Result<(), FrontError> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(FrontError::System("epoll_wait", error));
                }
                _ => {}
            }
            self.now = Instant::now();
            for event in &events {
                self.event(event);
            }
            if self.links.monitor.gone {
                return Ok(());
            }
            for _ in 0..self.again.len() {
                if let Some(handle) = self.again.pop_front() {
                    if let Some(conn) = self.slots.get(handle) {
                        conn.queued = false;
                        self.drive(handle.slot);
                    }
                }
            }
            if self.accepting {
                (0..self.listeners.len()).for_each(|number| self.accept(number));
            }
            self.expire();
            self.slots.recycle();
            self.drained();
        }
    }

    /// How long nothing has to be done of ourselves.
    fn patience(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let ready = |listener: &&Listener| listener.ready && self.accepting;
        let listeners = self.listeners.iter().filter(ready);
        let soonest = listeners
            .map(|listener| listener.rests.unwrap_or(self.now))
            .chain(self.deadlines.next())
            .chain(self.drain.filter(|_| !self.slots.is_empty()))
            .min()?;
        Some(soonest.saturating_duration_since(Instant::now()))
    }

    fn event(&mut self, event: &Event) {
        match event.token() {
            WAKER => self.handshakes(),
            MONITOR => self.hear_monitor(),
            AUTH => self.hear_auths(),
            token => match handle::slot_of(token) {
                None => {
                    if let Some(listener) = self.listeners.get_mut(token.0 - LISTENERS) {
                        listener.ready = true;
                    }
                }
                Some((slot, true)) => self.client_event(slot, event),
                Some((slot, false)) => {
                    let conn = self.slots.at(slot);
                    if let Some(worker) = conn.and_then(|conn| conn.worker.as_mut()) {
                        worker.readable = true;
                        worker.closed |= event.is_read_closed();
                    }
                    self.drive(slot);
                }
            },
        }
    }

    /// Something happened to a client's socket, or to a proxy's.
    fn client_event(&mut self, slot: usize, event: &Event) {
        if let Some(caller) = self.slots.caller(slot) {
            caller.readable |= event.is_readable() || event.is_read_closed();
            caller.half_closed |= event.is_read_closed() || event.is_error();
            return self.listen_to(slot);
        }
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let client = &mut conn.client;
        client.readable |= event.is_readable() || event.is_read_closed();
        let freed = event.is_writable() && !client.writable;
        client.writable |= freed;
        client.half_closed |= event.is_read_closed();
        client.gone |= event.is_error() || event.is_write_closed();
        if freed {
            // There may be room for a part of what waits only: nothing is added to it before it has gone.
            client.flush(self.now);
        }
        self.drive(slot);
    }

    /// Lets a connection go as far as it goes.
    pub(crate) fn drive(&mut self, slot: usize) {
        let now = self.now;
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let handle = conn.handle;
        match conn.client.handshake(now) {
            Handshake::Complete => self.with(slot, Conn::drive),
            Handshake::Waits if conn.client.gone => self.with(slot, Conn::handshake_failed),
            Handshake::Waits => self.arm(slot),
            Handshake::Work(work) => {
                if let Some(rules) = self.tls.clone() {
                    let job = Job {
                        handle,
                        work,
                        rules,
                    };
                    conn.client.wait_in_line(self.threads.give(job));
                }
                self.arm(slot);
            }
            Handshake::Failed(error) => {
                if let Some(error) = &error {
                    if self.said.may_say(conn.peer.ip(), now) {
                        report::handshake(&self.log, &conn.subject(), error);
                    }
                }
                self.with(slot, Conn::handshake_failed);
            }
        }
    }

    /// Does something with a connection and then what its outcome asks for.
    pub(crate) fn with(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Conn, &mut Turn<'_>) -> Outcome,
    ) {
        let Some(conn) = self.slots.at(slot) else {
            return;
        };
        let mut turn = Turn {
            now: self.now,
            auths: &self.links.auths,
            registry: self.poll.registry(),
            packet: &mut self.packet,
            read: &mut self.read,
            admission: &mut self.admission,
            log: &self.log,
        };
        match act(conn, &mut turn) {
            Outcome::Waits => self.arm(slot),
            Outcome::Again => {
                if !std::mem::replace(&mut conn.queued, true) {
                    self.again.push_back(conn.handle);
                }
                self.arm(slot);
            }
            Outcome::Over => {
                if let Some(Occupant::Conn(conn)) = self.slots.take(slot) {
                    if let Some(place) = conn.client.place() {
                        self.threads.cancel(place);
                    }
                    self.admission.leave(conn.party);
                }
            }
        }
    }

    /// Sees to it that a connection is looked at by its deadline.
    fn arm(&mut self, slot: usize) {
        if let Some(conn) = self.slots.at(slot) {
            let (at, _) = conn.deadline();
            if conn.armed.is_none_or(|armed| at < armed) {
                conn.armed = Some(at);
                let handle = conn.handle;
                self.deadlines.add(at, handle);
            }
        }
    }

    fn expire(&mut self) {
        while let Some((at, handle)) = self.deadlines.due(self.now) {
            let now = self.now;
            let Some(conn) = self.slots.get(handle) else {
                self.header_is_late(handle);
                continue;
            };
            if conn.armed != Some(at) {
                continue;
            }
            conn.armed = None;
            let (at, why) = conn.deadline();
            if at > now {
                self.arm(handle.slot);
            } else {
                self.with(handle.slot, |conn, turn| conn.expire(why, turn));
            }
        }
    }

    /// Takes connections back from the handshake threads.
    fn handshakes(&mut self) {
        while let Some(done) = self.threads.take() {
            let now = self.now;
            let Some(conn) = self.slots.get(done.handle) else {
                continue;
            };
            match done.result {
                Ok(tls) => {
                    conn.client.resume(tls, done.witness, now);
                    self.drive(done.handle.slot);
                }
                Err(failure) => {
                    conn.client.alert(&failure.alert);
                    if self.said.may_say(conn.peer.ip(), now) {
                        report::handshake(&self.log, &conn.subject(), &failure.error);
                    }
                    self.with(done.handle.slot, Conn::handshake_failed);
                }
            }
        }
    }

    /// Accepts nobody any more, and serves those who are here: another front has taken over.
    pub(crate) fn retire(&mut self) {
        self.stop_accepting();
        self.retired = true;
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        for listener in &mut self.listeners {
            // Other processes have the same socket, so that its end here does not end the wake-ups.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        self.listeners.clear();
    }

    /// Accepts nobody any more, and ends what waits for a login.
    pub(crate) fn start_drain(&mut self) {
        self.stop_accepting();
        self.drain = Some(self.now + Duration::from_millis(self.settings.limits.drain_ms.into()));
        for slot in self.slots.in_use() {
            self.dismiss(slot);
            self.with(slot, Conn::drain);
        }
    }

    fn drained(&mut self) {
        if self.drain.is_some_and(|until| until <= self.now) {
            for slot in self.slots.in_use() {
                self.with(slot, |conn, turn| conn.over(EndReason::Shutdown, turn));
            }
        }
        let ends = self.retired || self.drain.is_some();
        if ends && self.slots.is_empty() && self.admission.open() == 0 {
            self.links.say_drained();
        }
    }
}
