//! The time from one login of an account to its next (RFC 2449, section 6.5).

use super::recent::Recent;
use popward_proto::bounded::UserName;
use std::time::{Duration, Instant};

/// Most accounts that are remembered. Whoever is forgotten may log in sooner.
const ACCOUNTS_MAX: usize = 65_536;

/// When accounts last logged in.
#[derive(Debug)]
pub(crate) struct Intervals(Recent<UserName, ()>);

impl Intervals {
    /// Nobody has.
    pub(crate) fn new() -> Self {
        Self(Recent::new(ACCOUNTS_MAX))
    }

    /// Whether `account` may log in now, as far as its last login goes; if so, this is its last.
    pub(crate) fn log_in(&mut self, account: &UserName, delay: Duration, now: Instant) -> bool {
        let last = self.0.get(account).map(|(at, ())| *at);
        if last.is_some_and(|at| now.saturating_duration_since(at) < delay) {
            return false;
        }
        if !delay.is_zero() {
            self.0.put(account.clone(), (), now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_comes_too_soon_does_not_put_the_next_one_off() {
        let (mut intervals, now) = (Intervals::new(), Instant::now());
        let delay = Duration::from_secs(60);
        let alice = UserName::try_from("alice".to_owned()).unwrap();
        let bob = UserName::try_from("bob".to_owned()).unwrap();
        assert!(intervals.log_in(&alice, delay, now));
        assert!(!intervals.log_in(&alice, delay, now + Duration::from_secs(59)));
        assert!(intervals.log_in(&bob, delay, now + Duration::from_secs(59)));
        assert!(intervals.log_in(&alice, delay, now + Duration::from_secs(60)));
        assert!(intervals.log_in(&alice, Duration::ZERO, now + Duration::from_secs(60)));
    }
}
