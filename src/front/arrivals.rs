//! New connections: whether one is admitted, what a proxy says first, and which stranger yields if
//! there is no room.

use super::state::Front;
use crate::client::Client;
use crate::conn::{Conn, FULL};
use crate::handle::{self, Handle};
use crate::limits::{Party, TooMany};
use crate::pop3::Identity;
use crate::proxy::Peer;
use crate::proxy::connection::{HeaderRead, ProxyConnection};
use crate::proxy::header::Origin;
use crate::report;
use crate::slots::Occupant;
use mio::Interest;
use mio::net::TcpStream;
use popward_proto::account::SessionId;
use popward_proto::listen::ProxyHeaders;
use popward_sys::log::Field;
use std::hash::BuildHasher;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Most connections that are accepted at one listener before the next listener has its turn.
const ACCEPTS_MAX: u32 = 64;

/// How long a listener accepts nothing after this process could open no more descriptors.
const REST: Duration = Duration::from_millis(500);

/// The reply to a client that is refused where TLS begins at once: the fatal alert `internal_error`
/// (RFC 8446, section 6.2). It needs no handshake.
const FULL_TLS: &[u8] = b"\x15\x03\x03\x00\x02\x02\x50";

/// How often the log is told when the certificates expire. A popward-metrics that was started again
/// knows it after this time.
const EXPIRY_TOLD_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long a new connection does not have to yield. In this time a client can log in.
const CHANCE: Duration = Duration::from_secs(1);

/// The number of strangers that are drawn when one has to yield. The oldest of them yields.
const DRAWN: u64 = 8;

impl Front {
    /// Accepts the connections that wait at a listener.
    pub(super) fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_MAX {
            let listener = &mut self.listeners[number];
            if !listener.ready || listener.rests.is_some_and(|until| until > self.now) {
                return;
            }
            listener.rests = None;
            match listener.socket.accept() {
                Ok((stream, peer)) => {
                    let (tls, headers) = (listener.tls, listener.headers);
                    // An IPv4 client at an IPv6 listener counts as an IPv4 client.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    self.arrived(stream, peer, tls, headers);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => listener.ready = false,
                    // `ConnectionAborted`: the client has gone already.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        // No descriptors or no memory. Without the rest the loop would try again at
                        // once, without end. Clients wait in the kernel's queue.
                        listener.rests = Some(self.now + REST);
                        let times = self.log_limits.may_log_accept(number, self.now);
                        if let Some(times) = times {
                            let fields: &[Field<'_>] = &[("error", &error), ("times", &times)];
                            self.log.warning(None, "accept", fields);
                        }
                    }
                },
            }
        }
    }

    fn arrived(&mut self, stream: TcpStream, peer: SocketAddr, tls: bool, headers: ProxyHeaders) {
        if tls && self.tls.is_none() {
            return self.refuse(peer, &"no certificate can be used");
        }
        let is_proxy = self.settings.proxies.networks.contain(peer.ip());
        let sends_header = match headers {
            ProxyHeaders::Off => false,
            ProxyHeaders::FromProxies => is_proxy,
            ProxyHeaders::Only if is_proxy => true,
            ProxyHeaders::Only => return self.refuse(peer, &"the address is not a proxy's"),
        };
        let direct = Peer::direct(peer, &self.settings);
        let party = if sends_header || direct.proxy.is_some() {
            Party::Proxy
        } else {
            Party::Client(peer.ip())
        };
        if let Err(why) = self.admit(party) {
            return self.turn_away(stream, tls, peer, why);
        }
        let Some((name, stream)) = self.watch(stream, peer, party) else {
            return;
        };
        if sends_header {
            self.wait_for_header(name, stream, peer, tls);
        } else {
            let client = Client::new(stream, tls, self.now);
            self.begin(name, (direct, party), client);
        }
    }

    /// Counts a connection, if the limits permit one more. A stranger may have to make room for it.
    fn admit(&mut self, party: Party) -> Result<(), TooMany> {
        let settings = Rc::clone(&self.settings);
        let (limits, proxies) = (&settings.limits, &settings.proxies);
        // Programs of this host, such as webmail, may make many connections at once.
        let hurries = matches!(party, Party::Client(peer) if !peer.is_loopback());
        self.admission
            .admit(party, hurries, (limits, proxies), self.now)?;
        let full = if self.admission.open() > limits.connections {
            TooMany::InAll
        } else if self.slots.strangers() >= limits.unauthenticated as usize {
            TooMany::Unauthenticated
        } else {
            return Ok(());
        };
        if self.make_room() {
            let times = self
                .log_limits
                .may_log_limit(report::YIELDED, full, self.now);
            if let Some(times) = times {
                report::yielded(&self.log, full, times);
            }
            return Ok(());
        }
        self.admission.leave(party);
        Err(full)
    }

    /// Gives a connection its names and lets the event loop watch its socket.
    fn watch(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        party: Party,
    ) -> Option<((Handle, SessionId), TcpStream)> {
        let name = self.slots.reserve();
        let slot = name.0.slot;
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = handle::client_token(slot);
        if let Err(error) = self.poll.registry().register(&mut stream, token, both) {
            self.slots.take(slot);
            self.admission.leave(party);
            self.refuse(peer, &error);
            return None;
        }
        Some((name, stream))
    }

    /// Begins a proxy's connection, whose PROXY header comes first.
    fn wait_for_header(
        &mut self,
        (handle, id): (Handle, SessionId),
        stream: TcpStream,
        peer: SocketAddr,
        tls: bool,
    ) {
        let until = self.now + Duration::from_millis(self.settings.proxies.header_ms.into());
        let proxy = ProxyConnection {
            handle,
            id,
            stream,
            peer,
            tls,
            readable: true,
            half_closed: false,
            accepted: self.now,
        };
        self.slots.put(Occupant::Proxy(Box::new(proxy)));
        self.deadlines.add(until, handle);
        self.read_header(handle.slot);
    }

    /// Reads a proxy's header, as far as it has come.
    pub(super) fn read_header(&mut self, slot: usize) {
        let Some(proxy) = self.slots.proxy(slot) else {
            return;
        };
        let peer = proxy.peer;
        match proxy.read_header(&mut self.read) {
            HeaderRead::Incomplete => {}
            // Health checks do this, so there is no log line.
            HeaderRead::End => self.dismiss(slot),
            HeaderRead::Malformed(why) => {
                self.dismiss(slot);
                self.refuse(peer, &why);
            }
            HeaderRead::Header(origin) => {
                if let Some(proxy) = self.slots.take_proxy(slot) {
                    self.introduced(proxy, origin);
                }
            }
        }
    }

    /// The PROXY header is complete: begins the client's connection.
    fn introduced(&mut self, proxy: ProxyConnection, origin: Origin) {
        let origin = origin.said_by(proxy.peer.ip());
        let settings = Rc::clone(&self.settings);
        let peer = Peer::through(proxy.peer, origin, &settings);
        let mut party = Party::Proxy;
        if let Origin::Client { source, .. } = origin {
            let (limits, now) = (&settings.limits, self.now);
            if let Err(why) = self.admission.introduce(party, source.ip(), limits, now) {
                self.slots.take(proxy.handle.slot);
                self.admission.leave(party);
                return self.turn_away(proxy.stream, proxy.tls, source, why);
            }
            party = Party::Client(source.ip());
        }
        let mut client = Client::new(proxy.stream, proxy.tls, self.now);
        // epoll has reported the bytes after the header already. It does not report them again.
        client.readable = true;
        client.half_closed = proxy.half_closed;
        self.begin((proxy.handle, proxy.id), (peer, party), client);
    }

    /// Begins a client's connection.
    fn begin(&mut self, name: (Handle, SessionId), whose: (Peer, Party), client: Client) {
        let slot = name.0.slot;
        let Some(unique) = crate::tls::unique() else {
            self.slots.take(slot);
            self.admission.leave(whose.1);
            return self.refuse(whose.0.address, &"no random numbers");
        };
        let host = Rc::clone(&self.host);
        let identity = Identity { unique, host };
        let stls = self.tls.is_some();
        let conn = Conn::new(
            name,
            whose,
            client,
            stls,
            &self.settings,
            identity,
            self.now,
        );
        self.slots.put(Occupant::Conn(Box::new(conn)));
        self.drive(slot);
    }

    /// The configuration is in use.
    pub(super) fn start_accepting(&mut self) {
        self.accepting = true;
        self.tells_expiry = self.settings.tells_expiry.then_some(self.now);
    }

    /// Tells the log when the certificates expire, if that is due.
    pub(super) fn tell_expiry(&mut self) {
        if self.tells_expiry.is_none_or(|at| at > self.now) {
            return;
        }
        self.tells_expiry = Some(self.now + EXPIRY_TOLD_EVERY);
        for (number, of) in (1..).zip(self.tls.iter().flat_map(|rules| rules.expiries())) {
            report::expiry(&self.log, number, &of);
        }
    }

    /// Ends the connection in this slot, if it is a proxy's whose header is not complete.
    pub(super) fn dismiss(&mut self, slot: usize) {
        if self.slots.proxy(slot).is_some() {
            self.slots.take(slot);
            self.admission.leave(Party::Proxy);
        }
    }

    /// Ends the connection of this handle, if it still waits for a PROXY header: its time is over.
    pub(super) fn header_is_late(&mut self, handle: Handle) {
        let proxy = self.slots.proxy(handle.slot);
        let Some(proxy) = proxy.filter(|proxy| proxy.handle == handle) else {
            return;
        };
        let peer = proxy.peer;
        self.dismiss(handle.slot);
        self.refuse(peer, &"no PROXY header in time");
    }

    /// Ends a stranger to make room. Returns false if each stranger that was drawn is too young.
    ///
    /// The draw favours honest clients. An attacker who floods the server has most of the
    /// connections, so the draw probably hits one of these. A client in the middle of a login is
    /// probably younger than the oldest of eight.
    fn make_room(&mut self) -> bool {
        let (count, secret) = &mut self.drawn;
        let slots = &self.slots;
        let draw = |number: u64| slots.stranger(secret.hash_one(number));
        let drawn = (*count..*count + DRAWN).filter_map(draw).min();
        *count += DRAWN;
        let Some(stranger) = drawn.filter(|stranger| stranger.since + CHANCE <= self.now) else {
            return false;
        };
        self.dismiss(stranger.slot);
        self.with(stranger.slot, Conn::yields);
        true
    }

    /// Refuses a connection that has just come, with a reply. The socket's buffer is empty, so the
    /// write does not wait.
    fn turn_away(&mut self, mut stream: TcpStream, tls: bool, peer: SocketAddr, why: TooMany) {
        let _ = stream.write(if tls { FULL_TLS } else { FULL });
        // Unread bytes are read first. The kernel resets a connection that is closed with unread
        // bytes, and the reset can reach the client before the reply.
        let _ = stream.read(&mut self.read);
        let times = match why {
            TooMany::FromAddress | TooMany::FromPrefix | TooMany::InAMinute => {
                self.log_limits.may_log(peer.ip(), self.now).then_some(1)
            }
            TooMany::InAll | TooMany::Unauthenticated | TooMany::OfProxies => self
                .log_limits
                .may_log_limit(report::REFUSED, why, self.now),
        };
        if let Some(times) = times {
            report::turned_away(&self.log, peer, why, times);
        }
    }

    /// Logs a connection that is refused. The caller closes it.
    fn refuse(&mut self, peer: SocketAddr, why: &dyn std::fmt::Display) {
        if self.log_limits.may_log(peer.ip(), self.now) {
            report::refused(&self.log, peer, why);
        }
    }
}
