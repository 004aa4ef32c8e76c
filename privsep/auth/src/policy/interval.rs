//! The least time between two logins of an account (RFC 2449, section 6.5). Only a login whose
//! maildrop was opened counts.

use super::recent::{Recent, age_ms, aged};
use popward_proto::account::SessionId;
use popward_proto::auth_handover::LastLogin;
use popward_proto::bounded::UserName;
use std::time::{Duration, Instant};

/// Most accounts that are remembered. A forgotten account may log in before its delay is over.
const ACCOUNTS_MAX: usize = 65_536;

/// The last login of each account: its time and its session.
#[derive(Debug)]
pub(crate) struct Intervals(Recent<UserName, SessionId>);

impl Intervals {
    /// No logins.
    pub(crate) fn new() -> Self {
        Self(Recent::new(ACCOUNTS_MAX))
    }

    /// Whether `delay` has passed since the account's last login. If so, this login becomes its
    /// last.
    pub(crate) fn log_in(
        &mut self,
        account: &UserName,
        session: SessionId,
        delay: Duration,
        now: Instant,
    ) -> bool {
        let last = self.0.get(account).map(|(at, _)| *at);
        if last.is_some_and(|at| now.saturating_duration_since(at) < delay) {
            return false;
        }
        if !delay.is_zero() {
            self.0.put(account.clone(), session, now);
        }
        true
    }

    /// Makes `session` the account's last login.
    pub(crate) fn put(&mut self, account: UserName, session: SessionId, now: Instant) {
        self.0.put(account, session, now);
    }

    /// All last logins, for the auth that takes over.
    pub(crate) fn hand_over(&self, now: Instant) -> Vec<LastLogin> {
        let entry = |(user, (at, session)): (&UserName, &(Instant, SessionId))| LastLogin {
            user: user.clone(),
            session: *session,
            age_ms: age_ms(*at, now),
        };
        self.0.iter().map(entry).collect()
    }

    /// Adds the last logins that the former auth knew.
    pub(crate) fn take_over(&mut self, all: Vec<LastLogin>, now: Instant) {
        for entry in all {
            self.0
                .put(entry.user, entry.session, aged(now, entry.age_ms));
        }
    }

    /// Forgets the account's login as `session`, because its maildrop was not opened. The login
    /// before it need not come back: its delay was over.
    pub(crate) fn take_back(&mut self, account: &UserName, session: SessionId) {
        if self
            .0
            .get(account)
            .is_some_and(|(_, last)| *last == session)
        {
            self.0.remove(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::account::FrontId;

    const DELAY: Duration = Duration::from_secs(60);

    fn name(text: &str) -> UserName {
        UserName::try_from(text.to_owned()).unwrap()
    }

    fn session(number: u32) -> SessionId {
        SessionId::new(FrontId(1), number)
    }

    #[test]
    fn a_login_that_comes_too_soon_does_not_restart_the_delay() {
        let (mut intervals, now) = (Intervals::new(), Instant::now());
        let (alice, bob) = (name("alice"), name("bob"));
        let mut log_in = |account, delay, seconds| {
            let at = now + Duration::from_secs(seconds);
            intervals.log_in(account, session(1), delay, at)
        };
        assert!(log_in(&alice, DELAY, 0));
        assert!(!log_in(&alice, DELAY, 59));
        assert!(log_in(&bob, DELAY, 59));
        assert!(log_in(&alice, DELAY, 60));
        assert!(log_in(&alice, Duration::ZERO, 60));
    }

    #[test]
    fn a_handover_shortens_no_delay() {
        let (mut old, mut new) = (Intervals::new(), Intervals::new());
        let (alice, now) = (name("alice"), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(old.log_in(&alice, session(1), DELAY, now));
        new.take_over(old.hand_over(at(20)), at(20));
        assert!(!new.log_in(&alice, session(2), DELAY, at(59)));
        assert!(new.log_in(&alice, session(2), DELAY, at(60)));
        // The old auth granted this one, and its maildrop was not opened.
        new.put(alice.clone(), session(3), at(200));
        new.take_back(&alice, session(3));
        assert!(new.log_in(&alice, session(4), DELAY, at(200)));
    }

    #[test]
    fn only_the_login_whose_maildrop_was_not_opened_is_taken_back() {
        let (mut intervals, now) = (Intervals::new(), Instant::now());
        let alice = name("alice");
        assert!(intervals.log_in(&alice, session(1), DELAY, now));
        intervals.take_back(&alice, session(1));
        assert!(intervals.log_in(&alice, session(2), DELAY, now));
        // A message that comes late, or for another account, changes nothing.
        intervals.take_back(&alice, session(1));
        intervals.take_back(&name("bob"), session(2));
        assert!(!intervals.log_in(&alice, session(3), DELAY, now));
    }
}
