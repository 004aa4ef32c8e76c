//! The time from one login of an account to its next (RFC 2449, section 6.5). A login is one whose maildrop was opened.

use super::recent::Recent;
use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use std::time::{Duration, Instant};

/// Most accounts that are remembered. Whoever is forgotten may log in sooner.
const ACCOUNTS_MAX: usize = 65_536;

/// When accounts last logged in, and as which session.
#[derive(Debug)]
pub(crate) struct Intervals(Recent<UserName, SessionId>);

impl Intervals {
    /// Nobody has.
    pub(crate) fn new() -> Self {
        Self(Recent::new(ACCOUNTS_MAX))
    }

    /// Whether `account` may log in now, as far as its last login goes; if so, this is its last.
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

    /// This session of `account` did not come to be: it was no login. The one before is too long ago to count.
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
    fn a_login_that_comes_too_soon_does_not_put_the_next_one_off() {
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
    fn what_came_to_no_session_is_no_login_and_no_other_one_is_taken_back() {
        let (mut intervals, now) = (Intervals::new(), Instant::now());
        let alice = name("alice");
        assert!(intervals.log_in(&alice, session(1), DELAY, now));
        intervals.take_back(&alice, session(1));
        assert!(intervals.log_in(&alice, session(2), DELAY, now));
        // It comes late, or again.
        intervals.take_back(&alice, session(1));
        intervals.take_back(&name("bob"), session(2));
        assert!(!intervals.log_in(&alice, session(3), DELAY, now));
    }
}
