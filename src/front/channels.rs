//! What the monitor and auths say, and which connection it concerns.

use super::Front;
use crate::conn::{Conn, Outcome, Turn};
use popward_proto::account::SessionId;
use popward_proto::auth::{AuthPhase, AuthToFront, FrontToAuth};
use popward_proto::bounded::UserName;
use popward_proto::monitor_front::MonitorToFront;
use popward_sys::channel::{Channel, ChannelError, Packet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

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
            (M::Accept, _) => self.accepting = true,
            (M::Retire, _) => self.retire(),
            (M::Drain, _) => self.start_drain(),
            // The permit table lets none of these through: setup is over, and descriptors are counted.
            (
                M::Settings(_)
                | M::Listener { .. }
                | M::Serve
                | M::ClientAuthorities
                | M::Certificate(_)
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

    /// Sends new logins to this auth. After a reload, the auth before it finishes the logins that it has
    /// begun.
    pub(crate) fn use_auth(&mut self, socket: OwnedFd) {
        let former = self.links.auths.current();
        let told = former.map(|former| (former.number, former.channel.send(&FrontToAuth::Last)));
        if let Some((number, Err(_))) = told {
            self.lose_auth(number);
        }
        let channel = Channel::new(socket, AuthPhase::Serving);
        let watched = channel
            .set_nonblocking()
            .map_err(std::io::Error::from)
            .and_then(|()| self.watch_auth(channel.as_fd().as_raw_fd()));
        match watched {
            Ok(()) => self.links.auths.add(channel),
            Err(error) => self.log.error(None, "auth's socket", &[("error", &error)]),
        }
    }

    /// Forgets an auth. Its verdicts will not come.
    fn lose_auth(&mut self, number: u32) {
        self.links.auths.remove(number);
        for slot in self.slots.in_use() {
            self.with(slot, |conn, turn| {
                if conn.auth_died(number, turn) {
                    conn.drive(turn)
                } else {
                    Outcome::Waits
                }
            });
        }
    }

    /// Takes everything that auths have to say now.
    pub(crate) fn hear_auths(&mut self) {
        for number in self.links.auths.numbers() {
            self.hear_auth(number);
        }
    }

    fn hear_auth(&mut self, number: u32) {
        while let Some(link) = self.links.auths.numbered_mut(number) {
            match link.channel.receive(&mut self.packet) {
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
                    // An auth that was told of the last login ends when it is done.
                    let retired = !self.links.auths.is_current(number);
                    self.lose_auth(number);
                    // At the end of the server auth ends too. The monitor has sent `Drain` before.
                    self.hear_monitor();
                    let ends = self.links.monitor.gone || self.drain.is_some() || retired;
                    if ends && error == ChannelError::Closed {
                        return;
                    }
                    self.log
                        .warning(None, "auth's channel ended", &[("error", &error)]);
                    // An auth that lives is introduced once. Better another front than one that can log nobody in.
                    self.links.monitor.gone |= error != ChannelError::Closed;
                }
            }
        }
    }
}
