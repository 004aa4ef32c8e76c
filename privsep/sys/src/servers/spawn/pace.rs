//! Bounds how often sessions of a user can fail.
//!
//! A user can make their own sessions fail, for example by killing the workers. Without a bound,
//! sessions would start processes for this user as fast as auth checks the password.
//!
//! Pure: times are passed in.

use popward_proto::bounded::UserName;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many failures within [`WINDOW`] are too many.
const FAILURES_MAX: u32 = 50;

/// One window follows another.
const WINDOW: Duration = Duration::from_secs(10);

/// How often sessions of each user have failed in the present window.
#[derive(Debug, Default)]
pub struct Pace {
    failures: HashMap<UserName, u32>,
    since: Option<Instant>,
}

impl Pace {
    /// A session of `user` has failed at `now`.
    pub fn failed(&mut self, user: UserName, now: Instant) {
        self.turn(now);
        *self.failures.entry(user).or_default() += 1;
    }

    /// Whether sessions of `user` have failed too often. Then the user has to wait until the window
    /// ends.
    pub fn holds(&mut self, user: &UserName, now: Instant) -> bool {
        self.turn(now);
        let failures = self.failures.get(user);
        failures.is_some_and(|failures| *failures >= FAILURES_MAX)
    }

    fn turn(&mut self, now: Instant) {
        let within = |since| now.saturating_duration_since(since) < WINDOW;
        if !self.since.is_some_and(within) {
            self.failures.clear();
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_whoever_fails_too_often_waits_and_not_for_ever() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let user = |name: &str| UserName::try_from(name.to_owned()).unwrap();
        let (alice, bob) = (user("alice"), user("bob"));
        for _ in 1..FAILURES_MAX {
            pace.failed(alice.clone(), start);
        }
        assert!(!pace.holds(&alice, start));
        pace.failed(alice.clone(), start + WINDOW / 2);
        assert!(pace.holds(&alice, start + WINDOW / 2));
        assert!(!pace.holds(&bob, start + WINDOW / 2));
        assert!(!pace.holds(&alice, start + WINDOW));
        assert!(pace.failures.is_empty());
    }
}
