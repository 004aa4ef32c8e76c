//! The data of the network process, and what it is made of.

use crate::channels::{Channels, MonitorChannel, SessionsChannel};
use crate::conn::READ_MAX;
use crate::deadlines::Deadlines;
use crate::handle::{self, Handle};
use crate::limits::{Admission, LogLimits};
use crate::slots::Slots;
use crate::tls::handshake::Threads;
use crate::tls::remote_key::Keys;
use crate::tls::rules::Rules;
use crate::tls::tickets::Tickets;
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use popward_proto::listen::{LISTENERS_MAX, ProxyHeaders};
use popward_proto::monitor_front::FrontSettings;
use popward_sys::channel::PacketBuffer;
use popward_sys::log::Log;
use std::collections::VecDeque;
use std::hash::RandomState;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The token of the waker, with which handshake threads announce results.
pub(super) const WAKER: Token = Token(0);
/// The token of the monitor's channel.
pub(super) const MONITOR: Token = Token(1);
/// The token of all channels to auths.
pub(super) const AUTH: Token = Token(2);
/// The token of the channel from sessions.
pub(super) const SESSIONS: Token = Token(3);
/// The token of the first listener.
pub(super) const LISTENERS: usize = 4;

// The tokens of the listeners end where those of connections begin.
const _: () = assert!(LISTENERS_MAX == handle::FIRST_TOKEN - LISTENERS);

/// What a front is made of.
pub struct FrontParts {
    /// Its configuration.
    pub settings: FrontSettings,
    /// The listening sockets.
    pub listeners: Vec<ListeningSocket>,
    /// The rules of TLS. `None`: there is no certificate.
    pub tls: Option<Rules>,
    /// The tickets of these rules.
    pub tickets: Arc<Tickets>,
    /// The channel to the monitor, in its serving phase.
    pub monitor: MonitorChannel,
    /// The channel from sessions.
    pub sessions: SessionsChannel,
    /// The socket to auth.
    pub auth: Option<OwnedFd>,
    /// The channel to keys.
    pub keys: Arc<Keys>,
    /// The log.
    pub log: Arc<Log>,
    /// The number of handshake threads.
    pub threads: usize,
}

/// A listening socket, and how connections to it begin.
pub struct ListeningSocket {
    /// The socket.
    pub socket: std::net::TcpListener,
    /// Whether TLS begins with the connection (RFC 8314).
    pub tls: bool,
    /// Which connections begin with a PROXY header.
    pub headers: ProxyHeaders,
}

/// Why the front failed.
#[derive(Debug)]
pub enum FrontError {
    /// This system call failed, and the front cannot go on without it.
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

/// A listening socket in the event loop.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: bool,
    pub(super) headers: ProxyHeaders,
    /// Whether a connection may wait to be accepted.
    pub(super) ready: bool,
    /// Nothing is accepted before this time, because there were no descriptors left.
    pub(super) rests: Option<Instant>,
}

/// The network process.
pub struct Front {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    /// Whether the configuration is in force, so that clients are accepted.
    pub(super) accepting: bool,
    /// When the log is told again when the certificates expire. `None`: they are not in use, or
    /// another front tells it.
    pub(super) tells_expiry: Option<Instant>,
    pub(super) slots: Slots,
    pub(super) deadlines: Deadlines,
    pub(super) admission: Admission,
    /// For the draw of the stranger that yields: how many were drawn, and a secret. Without the
    /// secret an attacker could foresee who is drawn.
    pub(super) drawn: (u64, RandomState),
    pub(super) log_limits: LogLimits,
    pub(super) settings: Rc<FrontSettings>,
    /// The host's name in the settings.
    pub(super) host: Rc<str>,
    pub(super) tls: Option<Arc<Rules>>,
    pub(super) channels: Channels,
    pub(super) threads: Threads,
    /// Connections that wait for another turn.
    pub(super) again: VecDeque<Handle>,
    pub(super) packet: PacketBuffer,
    pub(super) read: Box<[u8]>,
    pub(super) log: Arc<Log>,
    pub(super) now: Instant,
    /// Whether another front has taken over. Then this one ends with its last connection.
    pub(super) retired: bool,
    /// Set when the server ends: the time at which the connections that are left end.
    pub(super) drain: Option<Instant>,
    /// Set when the server ends: the time at which the connections end that do not log in.
    pub(super) drain_strangers: Option<Instant>,
}

impl Front {
    /// Makes a front and starts its threads, but without its auth.
    pub(super) fn assemble(parts: FrontParts) -> Result<Self, FrontError> {
        let poll = attempt("epoll", Poll::new())?;
        let waker = Arc::new(attempt("waker", Waker::new(poll.registry(), WAKER))?);
        let mut listeners = Vec::new();
        for listening in parts.listeners.into_iter().take(LISTENERS_MAX) {
            let listener = listen(&poll, listeners.len(), listening);
            listeners.push(attempt("listening socket", listener)?);
        }
        let threads = Threads::start(parts.threads.max(1), &waker, &parts.tickets);
        let channels = Channels::new(parts.monitor, parts.sessions, parts.keys);
        let front = Self {
            threads: attempt("threads", threads)?,
            listeners,
            accepting: false,
            tells_expiry: None,
            slots: Slots::new(parts.settings.front),
            deadlines: Deadlines::default(),
            admission: Admission::default(),
            drawn: (0, RandomState::new()),
            log_limits: LogLimits::default(),
            host: parts.settings.host.as_str().into(),
            settings: Rc::new(parts.settings),
            tls: parts.tls.map(Arc::new),
            channels,
            again: VecDeque::new(),
            packet: PacketBuffer::for_data(),
            read: vec![0; READ_MAX].into_boxed_slice(),
            log: parts.log,
            now: Instant::now(),
            retired: false,
            drain: None,
            drain_strangers: None,
            poll,
        };
        let monitor = front.channels.monitor.channel.as_fd().as_raw_fd();
        attempt("monitor's channel", front.register(monitor, MONITOR))?;
        if let Some(sessions) = &front.channels.sessions {
            let sessions = front.register(sessions.as_fd().as_raw_fd(), SESSIONS);
            attempt("channel from sessions", sessions)?;
        }
        Ok(front)
    }

    /// Lets the event loop watch a socket that it only reads.
    pub(super) fn register(&self, descriptor: RawFd, token: Token) -> std::io::Result<()> {
        let mut source = SourceFd(&descriptor);
        self.poll
            .registry()
            .register(&mut source, token, Interest::READABLE)
    }
}

fn listen(poll: &Poll, number: usize, listening: ListeningSocket) -> std::io::Result<Listener> {
    let mut socket = TcpListener::from_std(listening.socket);
    let token = Token(LISTENERS + number);
    poll.registry()
        .register(&mut socket, token, Interest::READABLE)?;
    Ok(Listener {
        socket,
        tls: listening.tls,
        headers: listening.headers,
        ready: false,
        rests: None,
    })
}
