//! Who comes in: admission, what a proxy says before its client is heard, and who has to yield when all is full.

use super::Front;
use crate::client::Client;
use crate::conn::{Conn, FULL};
use crate::handle::{self, Handle};
use crate::limits::{Party, TooMany};
use crate::pop3::Identity;
use crate::proxy::Peer;
use crate::proxy::caller::{Caller, Heard};
use crate::proxy::header::Origin;
use crate::report;
use crate::slots::Occupant;
use mio::Interest;
use mio::net::TcpStream;
use popward_proto::account::SessionId;
use popward_proto::proxies::ProxyHeaders;
use std::hash::BuildHasher;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that are accepted at one listener before it is another's turn.
const ACCEPTS: u32 = 64;

/// How long a listener rests when this process can open no more descriptors.
const REST: Duration = Duration::from_millis(500);

/// The same where TLS is expected: a fatal alert, `internal_error` (RFC 8446, section 6.2), which needs no handshake.
const FULL_TLS: &[u8] = b"\x15\x03\x03\x00\x02\x02\x50";

/// How long nobody has to yield to anybody: a few round trips, in which a client can log in.
const CHANCE: Duration = Duration::from_secs(1);

/// How many strangers are drawn when one has to yield. It is the one of them that has been there longest.
const DRAWN: u64 = 8;

impl Front {
    pub(super) fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS {
            let listener = &mut self.listeners[number];
            if !listener.ready || listener.rests.is_some_and(|until| until > self.now) {
                return;
            }
            listener.rests = None;
            match listener.socket.accept() {
                Ok((stream, peer)) => {
                    let (tls, headers) = (listener.tls, listener.headers);
                    // An IPv4 client of an IPv6 listener is an IPv4 client to everybody from here on.
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    self.arrived(stream, peer, tls, headers);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => listener.ready = false,
                    // The client has gone again already.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        // No descriptors or no memory: whoever waits goes on waiting, and we do not spin.
                        listener.rests = Some(self.now + REST);
                        self.log.warning(None, "accept", &[("error", &error)]);
                    }
                },
            }
        }
    }

    fn arrived(&mut self, stream: TcpStream, peer: SocketAddr, tls: bool, headers: ProxyHeaders) {
        if tls && self.tls.is_none() {
            return self.refuse(peer, &"no certificate can be used");
        }
        let proxy = self.settings.proxies.networks.contain(peer.ip());
        let calls = match headers {
            ProxyHeaders::Off => false,
            ProxyHeaders::FromProxies => proxy,
            ProxyHeaders::Only if proxy => true,
            ProxyHeaders::Only => return self.refuse(peer, &"it is not a proxy's"),
        };
        let direct = Peer::direct(peer, &self.settings);
        let party = if calls || direct.proxy.is_some() {
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
        if calls {
            let (handle, id) = name;
            let until = self.now + Duration::from_millis(self.settings.proxies.header_ms.into());
            let caller = Caller {
                handle,
                id,
                stream,
                peer,
                tls,
                readable: true,
                half_closed: false,
                accepted: self.now,
            };
            self.slots.put(Occupant::Caller(Box::new(caller)));
            self.deadlines.add(until, handle);
            self.listen_to(handle.slot);
        } else {
            self.greet(name, stream, direct, party, tls);
        }
    }

    /// Counts a connection, with room made for it where all is full.
    fn admit(&mut self, party: Party) -> Result<(), TooMany> {
        let settings = std::rc::Rc::clone(&self.settings);
        let (limits, proxies) = (&settings.limits, &settings.proxies);
        // Of this host itself many may come at once: webmail.
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
            if let Some(times) = self.said.may_say_of_all(report::YIELDED, full, self.now) {
                report::yielded(&self.log, full, times);
            }
            return Ok(());
        }
        self.admission.leave(party);
        Err(full)
    }

    /// Names a connection and has the event loop watch it.
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

    /// Begins a client's connection.
    fn greet(
        &mut self,
        name: (Handle, SessionId),
        stream: TcpStream,
        peer: Peer,
        party: Party,
        tls: bool,
    ) {
        let client = Client::new(stream, tls, self.now);
        self.begin(name, (peer, party), client);
    }

    /// Hears what a proxy has said so far.
    pub(super) fn listen_to(&mut self, slot: usize) {
        let Some(caller) = self.slots.caller(slot) else {
            return;
        };
        let peer = caller.peer;
        match caller.hear(&mut self.read) {
            Heard::Nothing => {}
            // Nobody was kept from anything: it is not worth a line but in search of a fault.
            Heard::End => self.dismiss(slot),
            Heard::Malformed(why) => {
                self.dismiss(slot);
                self.refuse(peer, &why);
            }
            Heard::Header(origin) => {
                if let Some(caller) = self.slots.take_caller(slot) {
                    self.introduced(caller, origin);
                }
            }
        }
    }

    /// A proxy has said whose its connection is.
    fn introduced(&mut self, caller: Caller, origin: Origin) {
        let origin = origin.said_by(caller.peer.ip());
        let settings = std::rc::Rc::clone(&self.settings);
        let peer = Peer::through(caller.peer, origin, &settings);
        let mut party = Party::Proxy;
        if let Origin::Client { source, .. } = origin {
            let (limits, now) = (&settings.limits, self.now);
            if let Err(why) = self.admission.introduce(party, source.ip(), limits, now) {
                self.slots.take(caller.handle.slot);
                self.admission.leave(party);
                return self.turn_away(caller.stream, caller.tls, source, why);
            }
            party = Party::Client(source.ip());
        }
        let (name, tls) = ((caller.handle, caller.id), caller.tls);
        let mut client = Client::new(caller.stream, tls, self.now);
        // What came behind the header has had its edge.
        client.readable = true;
        client.half_closed = caller.half_closed;
        self.begin(name, (peer, party), client);
    }

    fn begin(&mut self, name: (Handle, SessionId), whose: (Peer, Party), client: Client) {
        let slot = name.0.slot;
        let Some(unique) = crate::tls::unique() else {
            self.slots.take(slot);
            self.admission.leave(whose.1);
            return self.refuse(whose.0.address, &"no random numbers");
        };
        let host = std::rc::Rc::clone(&self.host);
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

    /// Ends a proxy's connection that has not said whose it is; nothing where there is none.
    pub(super) fn dismiss(&mut self, slot: usize) {
        if self.slots.caller(slot).is_some() {
            self.slots.take(slot);
            self.admission.leave(Party::Proxy);
        }
    }

    /// The time is up for a proxy's header, if this is one that has not come.
    pub(super) fn header_is_late(&mut self, handle: Handle) {
        let caller = self.slots.caller(handle.slot);
        let Some(caller) = caller.filter(|caller| caller.handle == handle) else {
            return;
        };
        let peer = caller.peer;
        self.dismiss(handle.slot);
        self.refuse(peer, &"no PROXY header in time");
    }

    /// Has a stranger yield, if there is one that has had its chance. Returns whether there is room now.
    ///
    /// Whoever floods us with connections has most of them, so it is probably one of theirs; and who is in the middle of a
    /// login is probably younger than the oldest of eight.
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

    /// Turns somebody away who has just come, politely where that costs nothing: the socket's buffer is empty, so this does
    /// not wait.
    fn turn_away(&mut self, mut stream: TcpStream, tls: bool, peer: SocketAddr, why: TooMany) {
        let _ = stream.write(if tls { FULL_TLS } else { FULL });
        // To close a socket with unread bytes is to reset it, and the reset can overtake what was written.
        let _ = stream.read(&mut self.read);
        let said = match why {
            TooMany::FromAddress | TooMany::FromPrefix | TooMany::InAMinute => {
                self.said.may_say(peer.ip(), self.now).then_some(1)
            }
            TooMany::InAll | TooMany::Unauthenticated | TooMany::OfProxies => {
                self.said.may_say_of_all(report::REFUSED, why, self.now)
            }
        };
        if let Some(times) = said {
            report::turned_away(&self.log, peer, why, times);
        }
    }

    pub(super) fn refuse(&mut self, peer: SocketAddr, why: &dyn std::fmt::Display) {
        if self.said.may_say(peer.ip(), self.now) {
            report::refused(&self.log, peer, why);
        }
    }
}
