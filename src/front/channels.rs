//! What the monitor and auth say, and which connection it concerns.

use super::Front;
use crate::conn::{Conn, Outcome, Turn};
use popward_proto::account::SessionId;
use popward_proto::auth::{AuthPhase, AuthToFront};
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::KeyFacts;
use popward_sys::channel::{Channel, ChannelError, Packet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

impl Front {
    /// Takes everything that the monitor has to say now.
    pub(crate) fn hear_monitor(&mut self) {
        while !self.links.monitor.gone {
            match self.links.monitor.channel.receive(&mut self.packet) {
                Ok(Packet::Message(message, descriptors)) => {
                    self.monitor_said(message, descriptors.into_iter().next());
                }
                Ok(Packet::Data { .. }) => {}
                Err(ChannelError::WouldBlock) => return,
                Err(error) => {
                    if error != ChannelError::Closed {
                        self.log
                            .error(None, "monitor's channel failed", &[("error", &error)]);
                    }
                    self.links.monitor.gone = true;
                }
            }
        }
    }

    fn monitor_said(&mut self, message: MonitorToFront, descriptor: Option<OwnedFd>) {
        use MonitorToFront as M;
        match (message, descriptor) {
            (M::Settings(settings), _) => self.use_settings(*settings),
            (M::ClientAuthorities, Some(file)) => self.links.coming.authorities(file),
            (M::Certificate { key, last }, Some(file)) => self.certificate(key, file, last),
            (M::Auth, Some(socket)) => self.use_auth(socket),
            (M::Keys, Some(socket)) => self.links.keys.replace(socket),
            (
                M::Session {
                    session,
                    user,
                    login_delay_s,
                },
                Some(socket),
            ) => self.attach(session, (user, login_delay_s), socket),
            (M::NoSession { session, too_many }, _) => {
                self.tell(session, |conn, turn| conn.no_session(too_many, turn));
            }
            (M::Ended { session, finished }, _) => {
                self.tell(session, |conn, turn| conn.session_ended(finished, turn));
            }
            (M::Drain, _) => self.start_drain(),
            // The permit table lets none of these through: setup is over, and descriptors are counted.
            (
                M::Listener { .. }
                | M::Serve
                | M::ClientAuthorities
                | M::Certificate { .. }
                | M::Auth
                | M::Keys
                | M::Session { .. },
                _,
            ) => {}
        }
    }

    /// Tells a connection something, if it is still there, and lets it go on.
    fn tell(&mut self, id: SessionId, what: impl FnOnce(&mut Conn, &mut Turn<'_>)) {
        if let Some(slot) = self.slots.of_session(id) {
            self.with(slot, |conn, turn| {
                what(conn, turn);
                conn.drive(turn)
            });
        }
    }

    /// Gives a session its worker. A socket for which nobody waits any more is closed, and its worker ends.
    fn attach(&mut self, id: SessionId, whose: (UserName, u32), socket: OwnedFd) {
        let now = self.now;
        let Some(slot) = self.slots.of_session(id) else {
            return;
        };
        let attached = self
            .slots
            .at(slot)
            .and_then(|conn| conn.attach(whose, socket, now));
        if let Some(descriptor) = attached {
            self.slots.logged_in(slot);
            if let Err(error) = self.watch_session(descriptor, slot) {
                self.log
                    .error(Some(id), "session's socket", &[("error", &error)]);
            }
            self.drive(slot);
        }
    }

    fn certificate(&mut self, key: KeyFacts, file: OwnedFd, last: bool) {
        self.links.coming.certificate(key, file);
        if !last {
            return;
        }
        let (settings, links) = (self.settings.tls, &mut self.links);
        links.tickets.set_lifetime(settings.ticket_ms);
        let coming = std::mem::take(&mut links.coming);
        match coming.rules(settings, &links.keys, &links.tickets) {
            Ok(rules) => self.tls = Some(Arc::new(rules)),
            Err(error) => {
                let why = Text::truncated(&error.to_string());
                let said = self
                    .links
                    .monitor
                    .channel
                    .send(&FrontToMonitor::Unusable(why));
                if said.is_err() {
                    self.log.error(None, &error.to_string(), &[]);
                }
            }
        }
    }

    /// Asks this auth from now on. What the one before it owes will not come.
    pub(crate) fn use_auth(&mut self, socket: OwnedFd) {
        self.lose_auth();
        let channel = Channel::new(socket, AuthPhase::Serving);
        let watched = channel
            .set_nonblocking()
            .map_err(std::io::Error::from)
            .and_then(|()| self.watch_auth(channel.as_fd().as_raw_fd()));
        match watched {
            Ok(()) => self.links.auth = Some(channel),
            Err(error) => self.log.error(None, "auth's socket", &[("error", &error)]),
        }
    }

    fn lose_auth(&mut self) {
        if self.links.auth.take().is_none() {
            return;
        }
        for slot in self.slots.in_use() {
            self.with(slot, |conn, turn| {
                if conn.auth_died(turn) {
                    conn.drive(turn)
                } else {
                    Outcome::Waits
                }
            });
        }
    }

    /// Takes everything that auth has to say now.
    pub(crate) fn hear_auth(&mut self) {
        while let Some(auth) = &mut self.links.auth {
            match auth.receive(&mut self.packet) {
                Ok(Packet::Message(AuthToFront::Refused { session, why }, _)) => {
                    self.tell(session, |conn, turn| conn.refused(why, turn));
                }
                Ok(Packet::Message(AuthToFront::Challenge { session, first }, _)) => {
                    self.tell(session, |conn, turn| conn.challenged(first.as_str(), turn));
                }
                Ok(Packet::Message(AuthToFront::Signature { session, signature }, _)) => {
                    self.tell(session, |conn, turn| conn.signed(&signature, turn));
                }
                Ok(Packet::Data { .. }) => {}
                Err(ChannelError::WouldBlock) => return,
                Err(error) => {
                    self.lose_auth();
                    // At the end of the server auth ends too. The monitor has sent `Drain` before.
                    self.hear_monitor();
                    let ends = self.links.monitor.gone || self.drain.is_some();
                    if ends && error == ChannelError::Closed {
                        return;
                    }
                    self.log
                        .warning(None, "auth's channel ended", &[("error", &error)]);
                    // An auth that lives is introduced once. Better another front than one that can log nobody in.
                    self.links.monitor.gone = error != ChannelError::Closed;
                }
            }
        }
    }
}
