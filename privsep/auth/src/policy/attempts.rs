//! Failed logins of each name, whether or not such a user exists.
//!
//! This stops an attacker who guesses one account's password from many addresses, even if all
//! guesses come at the same time.

use super::recent::{Recent, age_ms, aged};
use popward_proto::auth_handover::NameFailures;
use popward_proto::bounded::UserName;
use popward_proto::monitor_auth::Throttle;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// Most names that are remembered. With the longest names this takes about 10 MiB.
const NAMES_MAX: usize = 65_536;

/// The failures of each name, and the guesses whose check runs.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// The start of the name's window, and the failures since then.
    failures: Recent<UserName, (Instant, u32)>,
    /// For each name, the number of guesses is the number of owners of the `Rc`.
    under_way: HashMap<UserName, Weak<()>>,
    /// When `under_way` has this many entries, those without a guess are removed.
    under_way_max: usize,
}

/// A guess whose check runs. Until it is dropped it counts like a failure, because it may become
/// one.
#[derive(Debug)]
#[must_use]
pub(crate) struct Guess {
    _under_way: Rc<()>,
}

/// Whether a guess may be checked.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It may be checked now.
    Now(Guess),
    /// Not before the guesses under way have ended. If all of them fail, the name is closed.
    Later,
    /// The name is closed: it has too many failures within the window.
    Closed,
}

/// The effect of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The next guess will be checked.
    Open,
    /// The name is closed from now on.
    Closes,
}

impl Attempts {
    /// No failures and no guesses. There are at most `guesses_max` guesses at once.
    pub(crate) fn new(guesses_max: usize) -> Self {
        Self {
            failures: Recent::new(NAMES_MAX),
            under_way: HashMap::new(),
            under_way_max: 2 * guesses_max,
        }
    }

    /// Begins a guess at this name's password, if one more may be checked now. Failures and guesses
    /// under way are together never more than `account_failures`.
    pub(crate) fn begin(&mut self, name: &UserName, rules: &Throttle, now: Instant) -> Turn {
        let most = rules.account_failures;
        let failures = self.count(name, rules, now).1;
        if most > 0 && failures >= most {
            return Turn::Closed;
        }
        let others = self.under_way.get(name).and_then(Weak::upgrade);
        // `upgrade` has made one more owner, which is no guess.
        let count = others
            .as_ref()
            .map_or(0, Rc::strong_count)
            .saturating_sub(1);
        if most > 0 && count >= (most - failures) as usize {
            return Turn::Later;
        }
        drop(others);
        Turn::Now(self.reserve(name))
    }

    /// Counts a guess that another auth checks. That auth has made sure that one more is permitted.
    pub(crate) fn reserve(&mut self, name: &UserName) -> Guess {
        let others = self.under_way.get(name).and_then(Weak::upgrade);
        let under_way = others.unwrap_or_else(|| {
            let first = Rc::new(());
            if self.under_way.len() >= self.under_way_max {
                self.under_way
                    .retain(|_, guesses| guesses.strong_count() > 0);
            }
            self.under_way.insert(name.clone(), Rc::downgrade(&first));
            first
        });
        Guess {
            _under_way: under_way,
        }
    }

    /// The failures, for the auth that takes over. Guesses under way are not in them.
    pub(crate) fn hand_over(&self, now: Instant) -> Vec<NameFailures> {
        let entry =
            |(user, (at, (since, count))): (&UserName, &(Instant, (Instant, u32)))| NameFailures {
                user: user.clone(),
                count: *count,
                since_ms: age_ms(*since, now),
                age_ms: age_ms(*at, now),
            };
        self.failures.iter().map(entry).collect()
    }

    /// Adds the failures that the former auth knew.
    pub(crate) fn take_over(&mut self, all: Vec<NameFailures>, now: Instant) {
        for entry in all {
            let failures = (aged(now, entry.since_ms), entry.count);
            self.failures
                .put(entry.user, failures, aged(now, entry.age_ms));
        }
    }

    /// Counts a failed check for this name.
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

    /// Forgets the name's failures, because a login has succeeded.
    pub(crate) fn succeeded(&mut self, name: &UserName) {
        self.failures.remove(name);
    }

    /// The start of the name's window, and its failures. If the window is over, a new one begins.
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

    const GUESSES_MAX: usize = 8192;

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

    fn name(text: &str) -> UserName {
        UserName::try_from(text.to_owned()).unwrap()
    }

    impl Attempts {
        fn is_closed(&mut self, name: &UserName, rules: &Throttle, now: Instant) -> bool {
            matches!(self.begin(name, rules, now), Turn::Closed)
        }

        fn begun(&mut self, name: &UserName, rules: &Throttle, now: Instant) -> Option<Guess> {
            match self.begin(name, rules, now) {
                Turn::Now(guess) => Some(guess),
                Turn::Later | Turn::Closed => None,
            }
        }
    }

    #[test]
    fn a_name_closes_for_one_window_and_other_names_stay_open() {
        let (mut attempts, rules, now) = (Attempts::new(GUESSES_MAX), rules(3), Instant::now());
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
    fn p9_a_handover_gives_no_name_another_guess() {
        let (mut old, mut new) = (Attempts::new(GUESSES_MAX), Attempts::new(GUESSES_MAX));
        let (rules, now, alice) = (rules(3), Instant::now(), name("alice"));
        let at = |seconds| now + Duration::from_secs(seconds);
        old.failed(&alice, &rules, at(0));
        new.take_over(old.hand_over(at(10)), at(10));
        // One guess is with the old auth, so that there is room for one more.
        let theirs = new.reserve(&alice);
        let own = new.begun(&alice, &rules, at(10)).unwrap();
        assert!(matches!(new.begin(&alice, &rules, at(10)), Turn::Later));
        drop((theirs, own));
        new.failed(&alice, &rules, at(11));
        new.failed(&alice, &rules, at(12));
        // The window is the one that began with the failure at the old auth.
        assert!(new.is_closed(&alice, &rules, at(59)));
        assert!(!new.is_closed(&alice, &rules, at(60)));
    }

    #[test]
    fn a_success_forgets_failures() {
        let (mut attempts, rules, now) = (Attempts::new(GUESSES_MAX), rules(2), Instant::now());
        let alice = name("alice");
        attempts.failed(&alice, &rules, now);
        attempts.succeeded(&alice);
        attempts.failed(&alice, &rules, now);
        assert!(!attempts.is_closed(&alice, &rules, now));
    }

    #[test]
    fn at_most_as_many_guesses_run_as_may_fail_and_the_others_wait() {
        let (mut attempts, rules, now) = (Attempts::new(GUESSES_MAX), rules(3), Instant::now());
        let alice = name("alice");
        attempts.failed(&alice, &rules, now);
        let first = attempts.begun(&alice, &rules, now).unwrap();
        let second = attempts.begun(&alice, &rules, now).unwrap();
        assert!(matches!(attempts.begin(&alice, &rules, now), Turn::Later));
        assert!(attempts.begun(&name("bob"), &rules, now).is_some());
        // One guess was right, so the failures are forgotten. The other guess is still under way.
        drop(first);
        attempts.succeeded(&alice);
        let more = [(); 2].map(|()| attempts.begun(&alice, &rules, now).unwrap());
        assert!(matches!(attempts.begin(&alice, &rules, now), Turn::Later));
        // All guesses under way are wrong.
        drop((second, more));
        for _ in 0..3 {
            assert!(!attempts.is_closed(&alice, &rules, now));
            attempts.failed(&alice, &rules, now);
        }
        assert!(attempts.is_closed(&alice, &rules, now));
        let unlimited = self::rules(0);
        let many = [(); 200].map(|()| attempts.begun(&alice, &unlimited, now).is_some());
        assert_eq!(many, [true; 200]);
    }

    #[test]
    fn p8_names_without_a_guess_under_way_are_forgotten() {
        let (mut attempts, rules, now) = (Attempts::new(GUESSES_MAX), rules(3), Instant::now());
        let held = attempts.begun(&name("alice"), &rules, now);
        for number in 0..6 * GUESSES_MAX {
            let guess = attempts.begun(&name(&format!("user{number}")), &rules, now);
            assert!(guess.is_some());
            assert!(attempts.under_way.len() <= 2 * GUESSES_MAX);
        }
        let others = [(); 2].map(|()| attempts.begun(&name("alice"), &rules, now));
        assert!(
            attempts.begun(&name("alice"), &rules, now).is_none(),
            "{held:?} {others:?}"
        );
    }
}
