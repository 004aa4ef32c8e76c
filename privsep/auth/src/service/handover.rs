//! The handover from one auth to the next at a reload.
//!
//! 1. The old auth sends the failures and last logins that it remembers, so that a reload does not
//!    end a penalty early. It sends the key of stand-ins too, so that no name looks different after
//!    a reload. The new auth checks no login before it has all of them.
//! 2. The old auth still decides the logins that it began. It sends the result of each.

use super::generations::Predecessor;
use super::state::{Auth, Front};
use crate::login::{LOGINS_MAX, Undecided};
use popward_proto::account::SessionId;
use popward_proto::auth::AuthPhase;
use popward_proto::auth_handover::{AuthToSuccessor, HandoverPhase};
use popward_proto::auth_sessions::AuthToSessions;
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::AuthToMonitor;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long this process stays after it has granted a session of an older monitor's front. The
/// front takes the end of auth for the end of each login that has no session yet.
const SETTLE: Duration = Duration::from_secs(5);

/// Most packets that are read from the old auth before other channels are read.
const TURN: usize = 1024;

/// Most guesses that the old auth can have under way: its own logins, and those that it took over
/// from the auth before. There are at most two older monitors.
const UNDER_WAY_MAX: usize = 3 * LOGINS_MAX;

impl Auth {
    /// Sends to the successor what can be sent now. Tells sessions when this process can end.
    pub(super) fn hand_over(&mut self) -> Result<(), ChannelError> {
        let Some(successor) = &self.successor else {
            return Ok(());
        };
        if !successor.given {
            let stays = |front: &Front| front.phase() == AuthPhase::Serving;
            if successor.until <= Instant::now() {
                while let Some(place) = self.fronts.iter().position(|(_, front)| stays(front)) {
                    let (front, _) = self.fronts.remove(place);
                    self.logins.keep(|session| session.front() != front);
                    let error = "it does not go over to the auth that takes over";
                    self.log
                        .warning(None, "a front's channel ended", &[("error", &error)]);
                    self.tell_monitor_of(front, &AuthToMonitor::BrokeRules(front))?;
                }
            }
            // While a front can begin logins here, the successor could not count every guess. So
            // the handover waits until each front has changed to the successor.
            if self.fronts.iter().any(|(_, front)| stays(front)) || self.awaits_predecessor() {
                return Ok(());
            }
            self.give();
        }
        let Some(successor) = &mut self.successor else {
            return Ok(());
        };
        let decided = successor.decided.take();
        successor
            .queue
            .extend(decided.into_iter().map(AuthToSuccessor::Decided));
        while let Some(message) = successor.queue.front() {
            match successor.channel.send(message) {
                Ok(()) => drop(successor.queue.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                // The successor has died. The monitor starts another auth, which remembers nothing.
                Err(_) => successor.queue.clear(),
            }
        }
        let settled = self
            .granted_to_older
            .is_none_or(|at| at.elapsed() >= SETTLE);
        let over = self.logins.is_empty() && self.predecessor.is_none() && settled;
        let successor = self.successor.as_mut().filter(|_| over);
        if let Some(successor) = successor.filter(|successor| !successor.drained) {
            successor.drained = true;
            // Behind the last grant, so that sessions has heard all of them before.
            let sessions = self.sessions.as_ref().ok_or(ChannelError::Closed)?;
            sessions.send(&AuthToSessions::Drained)?;
        }
        Ok(())
    }

    /// Puts all failures and last logins into the successor's queue.
    fn give(&mut self) {
        let Some(successor) = &mut self.successor else {
            return;
        };
        let now = Instant::now();
        let key = AuthToSuccessor::StandInKey(self.hashing.key);
        successor.queue.push_back(key);
        successor.push(
            self.history.penalties.hand_over(now),
            AuthToSuccessor::Sources,
        );
        successor.push(self.history.attempts.hand_over(now), AuthToSuccessor::Names);
        successor.push(
            self.history.intervals.hand_over(now),
            AuthToSuccessor::LastLogins,
        );
        let decided = Rc::clone(&successor.decided);
        let mut names = self.logins.leave_undecided(&decided);
        for (user, guesses) in self.predecessor.iter_mut().flat_map(|p| &mut p.under_way) {
            for (_, undecided) in guesses {
                *undecided = Some(Undecided::new(user.clone(), &decided));
                names.push(user.clone());
            }
        }
        successor.push(names, AuthToSuccessor::UnderWay);
        successor.queue.push_back(AuthToSuccessor::Whole);
        successor.given = true;
    }

    /// When this process can say that it is not needed any more, if nothing else happens before.
    pub(super) fn settles(&self) -> Option<Instant> {
        let waits = self.successor.as_ref().is_some_and(|it| !it.drained);
        self.granted_to_older
            .filter(|_| waits)
            .map(|at| at + SETTLE)
    }

    fn tell_successor(&mut self, message: AuthToSuccessor) {
        if let Some(successor) = self.successor.as_mut().filter(|successor| successor.given) {
            successor.queue.push_back(message);
        }
    }

    /// Tells the successor about a counted failure.
    pub(super) fn pass_on_failure(&mut self, user: Option<UserName>, peer: IpAddr) {
        self.tell_successor(AuthToSuccessor::Failed { user, peer });
    }

    /// Forgets the user's failures, because the user's credentials were right.
    pub(super) fn forget_failures(&mut self, user: UserName) {
        self.history.attempts.succeeded(&user);
        self.tell_successor(AuthToSuccessor::Succeeded(user));
    }

    /// Tells the successor about a login.
    pub(super) fn pass_on_login(&mut self, user: UserName, session: SessionId) {
        self.tell_successor(AuthToSuccessor::LoggedIn { user, session });
    }

    /// Whether the old auth still has failures or last logins to send. Until it has sent them, this
    /// auth reads no message of a front.
    pub(super) fn awaits_predecessor(&self) -> bool {
        self.predecessor
            .as_ref()
            .and_then(Predecessor::awaited)
            .is_some()
    }

    /// Reads the messages that the old auth has sent.
    pub(super) fn hear_predecessor(&mut self, buffer: &mut PacketBuffer) {
        for _ in 0..TURN {
            let Some(predecessor) = &mut self.predecessor else {
                return;
            };
            match predecessor.channel.receive(buffer) {
                Ok((message, _)) => self.inherit(message),
                Err(ChannelError::WouldBlock) => {
                    let late = predecessor
                        .awaited()
                        .is_some_and(|until| until <= Instant::now());
                    if !late {
                        return;
                    }
                    self.lose_predecessor(&"not in time");
                }
                Err(error) => self.lose_predecessor(&error),
            }
        }
    }

    /// The old auth has ended or broken its rules. What it has not sent is lost.
    fn lose_predecessor(&mut self, error: &dyn std::fmt::Display) {
        if self.awaits_predecessor() {
            let text = "failures and last logins were not handed over by the auth before";
            self.log.error(None, text, &[("error", error)]);
        }
        self.predecessor = None;
    }

    fn inherit(&mut self, message: AuthToSuccessor) {
        let now = Instant::now();
        let Some((settings, predecessor)) = self.settings.as_ref().zip(self.predecessor.as_mut())
        else {
            return;
        };
        let (history, throttle) = (&mut self.history, &settings.configured.throttle);
        match message {
            AuthToSuccessor::StandInKey(key) => self.hashing.key = key,
            AuthToSuccessor::Sources(all) => history.penalties.take_over(all.into(), now),
            AuthToSuccessor::Names(all) => history.attempts.take_over(all.into(), now),
            AuthToSuccessor::LastLogins(all) => history.intervals.take_over(all.into(), now),
            AuthToSuccessor::UnderWay(names) => {
                let held: usize = predecessor.under_way.values().map(Vec::len).sum();
                for user in Vec::from(names).into_iter().take(UNDER_WAY_MAX - held) {
                    let guess = history.attempts.reserve(&user);
                    let guesses = predecessor.under_way.entry(user).or_default();
                    guesses.push((guess, None));
                }
            }
            AuthToSuccessor::Whole => predecessor.channel.enter(HandoverPhase::Happening),
            AuthToSuccessor::Failed { user, peer } => {
                history.penalties.failed(peer, throttle, now);
                if let Some(user) = &user {
                    // If this failure closes the name, the old auth has logged that.
                    let _ = history.attempts.failed(user, throttle, now);
                }
                self.pass_on_failure(user, peer);
            }
            AuthToSuccessor::Succeeded(user) => self.forget_failures(user),
            AuthToSuccessor::LoggedIn { user, session } => {
                history.intervals.put(user.clone(), session, now);
                self.pass_on_login(user, session);
            }
            AuthToSuccessor::Decided(user) => {
                let guesses = predecessor.under_way.get_mut(&user);
                if guesses.and_then(Vec::pop).is_some() {
                    predecessor
                        .under_way
                        .retain(|_, guesses| !guesses.is_empty());
                }
            }
        }
    }
}
