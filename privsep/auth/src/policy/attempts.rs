//! Failures by name, whether or not there is such a user: who guesses one account's password from many places is stopped
//! there.

use super::recent::Recent;
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::Throttle;
use std::time::{Duration, Instant};

/// Most names that are remembered: about 10 MiB of the longest ones.
const NAMES_MAX: usize = 65_536;

/// The failures of all names.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// Since when, and how many since then.
    failures: Recent<UserName, (Instant, u32)>,
}

/// What a failure led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The next one is checked.
    Open,
    /// From now on nothing is checked for this name.
    Closes,
}

impl Attempts {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            failures: Recent::new(NAMES_MAX),
        }
    }

    /// Whether nothing is checked for this name now.
    pub(crate) fn is_closed(&self, name: &UserName, rules: &Throttle, now: Instant) -> bool {
        rules.account_failures > 0 && self.count(name, rules, now).1 >= rules.account_failures
    }

    /// A check for this name has failed.
    pub(crate) fn failed(&mut self, name: &UserName, rules: &Throttle, now: Instant) -> Counted {
        if rules.account_failures == 0 {
            return Counted::Open;
        }
        let (since, count) = self.count(name, rules, now);
        let count = count.saturating_add(1);
        self.failures.put(name.clone(), (since, count), now);
        if count == rules.account_failures {
            Counted::Closes
        } else {
            Counted::Open
        }
    }

    /// Somebody has shown to be this user.
    pub(crate) fn succeeded(&mut self, name: &UserName) {
        self.failures.remove(name);
    }

    fn count(&self, name: &UserName, rules: &Throttle, now: Instant) -> (Instant, u32) {
        let window = Duration::from_secs(rules.account_window_s.into());
        match self.failures.get(name) {
            Some((_, (since, count))) if now.saturating_duration_since(*since) < window => {
                (*since, *count)
            }
            _ => (now, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::List;

    fn rules(failures: u32) -> Throttle {
        Throttle {
            failure_delay_ms: 2000,
            source_failures: 0,
            source_half_life_s: 1,
            source_wait_max_ms: 0,
            exempt: List::try_from(Vec::new()).unwrap(),
            account_failures: failures,
            account_window_s: 60,
        }
    }

    #[test]
    fn a_name_closes_once_opens_again_and_no_other_name_does() {
        let (mut attempts, rules, now) = (Attempts::new(), rules(3), Instant::now());
        let name = |text: &str| UserName::try_from(text.to_owned()).unwrap();
        let alice = name("alice");
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(attempts.failed(&alice, &rules, at(0)), Counted::Open);
        assert_eq!(attempts.failed(&alice, &rules, at(1)), Counted::Open);
        assert!(!attempts.is_closed(&alice, &rules, at(1)));
        assert_eq!(attempts.failed(&alice, &rules, at(2)), Counted::Closes);
        assert_eq!(
            attempts.failed(&alice, &rules, at(3)),
            Counted::Open,
            "said once"
        );
        assert!(attempts.is_closed(&alice, &rules, at(59)));
        assert!(!attempts.is_closed(&name("bob"), &rules, at(59)));
        assert!(!attempts.is_closed(&alice, &rules, at(60)));
        assert_eq!(attempts.failed(&alice, &rules, at(61)), Counted::Open);
        assert!(!attempts.is_closed(&alice, &self::rules(0), at(2)));
    }

    #[test]
    fn a_success_forgets_failures() {
        let (mut attempts, rules, now) = (Attempts::new(), rules(2), Instant::now());
        let alice = UserName::try_from("alice".to_owned()).unwrap();
        attempts.failed(&alice, &rules, now);
        attempts.succeeded(&alice);
        attempts.failed(&alice, &rules, now);
        assert!(!attempts.is_closed(&alice, &rules, now));
    }
}
