//! Messages of the monitor, of sessions and of auths, and the connections that they are for.

use super::state::{AUTH, Front};
use crate::conn::{Conn, Outcome, Shared};
use crate::handle;
use crate::pop3::Action;
use popward_proto::account::SessionId;
use popward_proto::auth::{AuthPhase, AuthToFront, FrontToAuth};
use popward_proto::bounded::UserName;
use popward_proto::monitor_front::MonitorToFront;
use popward_proto::sessions_front::SessionsToFront;
use popward_sys::channel::{Channel, ChannelError};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

impl Front {
    /// Takes all messages of the monitor that have come.
    pub(super) fn hear_monitor(&mut self) {
        while !self.channels.monitor.gone {
            match self.channels.monitor.channel.receive(&mut self.packet) {
                Ok((message, descriptors)) => {
                    self.monitor_said(message, descriptors.into_iter().next());
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => {
                    if error != ChannelError::Closed {
                        self.log
                            .error(None, "monitor's channel failed", &[("error", &error)]);
                    }
                    self.channels.monitor.gone = true;
                }
            }
        }
    }

    fn monitor_said(&mut self, message: MonitorToFront, descriptor: Option<OwnedFd>) {
        use MonitorToFront as M;
        match (message, descriptor) {
            (M::Auth, Some(socket)) => self.use_auth(socket),
            (M::Keys, Some(socket)) => self.channels.keys.replace(socket),
            (M::Accept, _) => self.start_accepting(),
            (M::Retire, _) => self.retire(),
            (M::Drain, _) => self.start_drain(),
            // Not reached. The permit table admits the first six only before a front serves, and
            // the channel checks that each of the others has its descriptor.
            (
                M::Settings(_)
                | M::Listener { .. }
                | M::Serve
                | M::ClientAuthorities
                | M::Certificate(_)
                | M::Sessions
                | M::Auth
                | M::Keys,
                _,
            ) => {}
        }
    }

    /// Takes all messages of sessions that have come.
    pub(super) fn hear_sessions(&mut self) {
        while let Some(sessions) = &mut self.channels.sessions {
            match sessions.receive(&mut self.packet) {
                Ok((message, descriptors)) => {
                    self.sessions_said(message, descriptors.into_iter().next());
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => {
                    if error != ChannelError::Closed {
                        let text = "channel from sessions failed";
                        self.log.error(None, text, &[("error", &error)]);
                    }
                    // The monitor ends without sessions, and so does this process.
                    self.channels.sessions = None;
                }
            }
        }
    }

    fn sessions_said(&mut self, message: SessionsToFront, descriptor: Option<OwnedFd>) {
        use SessionsToFront as S;
        match (message, descriptor) {
            (
                S::Session {
                    session,
                    user,
                    login_delay_s,
                },
                Some(socket),
            ) => self.attach(session, (user, login_delay_s), socket),
            (S::NoSession { session, too_many }, _) => {
                self.tell(session, |conn, _| conn.no_session(too_many));
            }
            (S::Ended { session, finished }, _) => {
                self.tell(session, |conn, _| conn.session_ended(finished));
            }
            (S::Newcomer(session), _) => {
                self.tell(session, |conn, shared| conn.expect_newcomer(shared.now));
            }
            // Not reached. The channel checks that a session has its socket.
            (S::Session { .. }, None) => {}
        }
    }

    /// Tells a connection something, if it is still there. Then it does what follows from that.
    fn tell(&mut self, id: SessionId, what: impl FnOnce(&mut Conn, &mut Shared<'_>) -> Action) {
        if let Some(slot) = self.slots.of_session(id) {
            self.with(slot, |conn, shared| {
                let action = what(conn, shared);
                conn.go_on(action, shared)
            });
        }
    }

    /// Gives a connection the socket to its worker. If the connection has gone, the socket is
    /// closed, and its worker ends.
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
            if let Err(error) = self.register(descriptor, handle::worker_token(slot)) {
                self.log
                    .error(Some(id), "session's socket", &[("error", &error)]);
            }
            self.drive(slot);
        }
    }

    /// Sends new logins to this auth. After a reload, the auth before it finishes the logins that
    /// it has begun.
    pub(super) fn use_auth(&mut self, socket: OwnedFd) {
        let former = self.channels.auths.current();
        let told = former.map(|former| (former.number, former.channel.send(&FrontToAuth::Last)));
        if let Some((number, Err(_))) = told {
            self.lose_auth(number);
        }
        let channel = Channel::new(socket, AuthPhase::Serving);
        match self.register(channel.as_fd().as_raw_fd(), AUTH) {
            Ok(()) => self.channels.auths.add(channel),
            Err(error) => self.log.error(None, "auth's socket", &[("error", &error)]),
        }
    }

    /// Forgets an auth that has gone, and tells the connections that waited for it.
    fn lose_auth(&mut self, number: u32) {
        self.channels.auths.remove(number);
        for slot in self.slots.in_use() {
            self.with(slot, |conn, shared| {
                if conn.auth_died(number, shared) {
                    conn.drive(shared)
                } else {
                    Outcome::Waits
                }
            });
        }
    }

    /// Takes all messages of auths that have come.
    pub(super) fn hear_auths(&mut self) {
        for number in self.channels.auths.numbers() {
            self.hear_auth(number);
        }
    }

    fn hear_auth(&mut self, number: u32) {
        while let Some(auth) = self.channels.auths.numbered_mut(number) {
            match auth.channel.receive(&mut self.packet) {
                Ok((AuthToFront::Refused { session, why }, _)) => {
                    self.tell(session, |conn, shared| conn.refused(why, shared));
                }
                Ok((AuthToFront::Challenge { session, first }, _)) => {
                    self.tell(session, |conn, _| conn.challenged(first.as_str()));
                }
                Ok((AuthToFront::Signature { session, signature }, _)) => {
                    self.tell(session, |conn, _| conn.signed(&signature));
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => return self.auth_ended(number, error),
            }
        }
    }

    /// An auth's channel has ended or failed.
    fn auth_ended(&mut self, number: u32, error: ChannelError) {
        // An auth that was told of its last login ends when that login is done.
        let retired = !self.channels.auths.is_current(number);
        self.lose_auth(number);
        // At the end of the server auth ends too. Then the monitor has sent `Drain` before.
        self.hear_monitor();
        let expected = self.channels.monitor.gone || self.drain.is_some() || retired;
        if expected && error == ChannelError::Closed {
            return;
        }
        self.log
            .warning(None, "auth's channel ended", &[("error", &error)]);
        // If auth is alive, the monitor does not send a channel to it again. So this front ends,
        // and the monitor starts one that can log users in.
        self.channels.monitor.gone |= error != ChannelError::Closed;
    }
}
