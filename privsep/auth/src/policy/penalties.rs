//! The penalty for a source (an address) with failed logins: its next logins wait before they are
//! checked. The wait grows with each failure and shrinks with time.
//!
//! A wait is a whole number of failure delays. Other waits would let a source learn from times how
//! long a check took (P9).

use super::recent::{Recent, age_ms, aged};
use popward_proto::auth_handover::SourceFailures;
use popward_proto::monitor_auth::Throttle;
use popward_proto::network::Network;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most sources that are remembered. They take about 1.5 MiB.
const SOURCES_MAX: usize = 16_384;

/// The failures of each source.
#[derive(Debug)]
pub(crate) struct Penalties {
    /// How many failures counted when the last one came. Half of them are forgotten after each
    /// `source_half_life_s`.
    failures: Recent<Network, f64>,
}

impl Penalties {
    /// No failures.
    pub(crate) fn new() -> Self {
        Self {
            failures: Recent::new(SOURCES_MAX),
        }
    }

    /// How long the source of `peer` waits now. Below `source_failures` it does not wait. From then
    /// on it waits for one delay, and for twice as long after each further `source_failures`.
    pub(crate) fn wait(&self, peer: IpAddr, rules: &Throttle, now: Instant) -> Duration {
        let delay = Duration::from_millis(rules.failure_delay_ms.into());
        if rules.source_failures == 0 || delay.is_zero() || exempt(peer, rules) {
            return Duration::ZERO;
        }
        let failures = self.failures(peer, rules, now);
        // Between failures in a row, a small part is forgotten. Rounding restores the whole number.
        let times = (failures.round() / f64::from(rules.source_failures)).floor();
        if times < 1.0 {
            return Duration::ZERO;
        }
        let delays = 2f64.powf((times - 1.0).min(20.0));
        let most = f64::from(rules.source_wait_max_ms / rules.failure_delay_ms);
        delay.mul_f64(delays.min(most))
    }

    /// Counts a failed login of `peer`.
    pub(crate) fn failed(&mut self, peer: IpAddr, rules: &Throttle, now: Instant) {
        if rules.source_failures > 0 && !exempt(peer, rules) {
            let failures = self.failures(peer, rules, now) + 1.0;
            self.failures.put(Network::source(peer), failures, now);
        }
    }

    /// All failures, for the auth that takes over.
    pub(crate) fn hand_over(&self, now: Instant) -> Vec<SourceFailures> {
        let entry = |(source, (at, failures)): (&Network, &(Instant, f64))| SourceFailures {
            source: *source,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
            thousandths: (failures * 1000.0).ceil() as u32,
            age_ms: age_ms(*at, now),
        };
        self.failures.iter().map(entry).collect()
    }

    /// Adds the failures that the former auth knew.
    pub(crate) fn take_over(&mut self, all: Vec<SourceFailures>, now: Instant) {
        for entry in all {
            let failures = f64::from(entry.thousandths) / 1000.0;
            self.failures
                .put(entry.source, failures, aged(now, entry.age_ms));
        }
    }

    /// The failures of `peer` that count at `now`.
    fn failures(&self, peer: IpAddr, rules: &Throttle, now: Instant) -> f64 {
        self.failures
            .get(&Network::source(peer))
            .map_or(0.0, |(at, failures)| {
                let passed = now.saturating_duration_since(*at).as_secs_f64();
                failures * 0.5f64.powf(passed / f64::from(rules.source_half_life_s.max(1)))
            })
    }
}

fn exempt(peer: IpAddr, rules: &Throttle) -> bool {
    let exempt = rules.exempt.as_slice();
    exempt.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use popward_proto::bounded::List;
    use proptest::prelude::*;

    fn rules() -> Throttle {
        Throttle {
            failure_delay_ms: 2000,
            source_failures: 4,
            source_half_life_s: 100,
            source_wait_max_ms: 15_000,
            exempt: List::try_from(vec!["192.0.2.0/24".parse().unwrap()]).unwrap(),
            account_failures: 0,
            account_window_s: 1,
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_shrink_with_time() {
        let (mut penalties, rules, now) = (Penalties::new(), rules(), Instant::now());
        let peer = address("198.51.100.7");
        let mut waits = Vec::new();
        for _ in 0..17 {
            waits.push(penalties.wait(peer, &rules, now).as_secs());
            penalties.failed(peer, &rules, now);
        }
        assert_eq!(waits, [0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 14]);
        let later = |seconds| penalties.wait(peer, &rules, now + Duration::from_secs(seconds));
        assert_eq!(later(100), Duration::from_secs(4), "17 are 8.5");
        assert_eq!(later(1000), Duration::ZERO);
        assert_eq!(
            penalties.wait(address("198.51.100.8"), &rules, now),
            Duration::ZERO
        );
    }

    #[test]
    fn all_addresses_of_an_ipv6_64_are_one_source_and_exempt_networks_never_wait() {
        let (mut penalties, rules, now) = (Penalties::new(), rules(), Instant::now());
        for host in 0..8u16 {
            penalties.failed(address(&format!("2001:db8::{host:x}")), &rules, now);
            penalties.failed(address("192.0.2.1"), &rules, now);
        }
        assert_eq!(
            penalties
                .wait(address("2001:db8::ff"), &rules, now)
                .as_secs(),
            4
        );
        assert_eq!(
            penalties.wait(address("2001:db8:0:1::1"), &rules, now),
            Duration::ZERO
        );
        assert_eq!(
            penalties.wait(address("192.0.2.1"), &rules, now),
            Duration::ZERO
        );
    }

    #[test]
    fn a_handover_spares_no_source_a_wait() {
        let (mut old, mut new) = (Penalties::new(), Penalties::new());
        let (rules, now) = (rules(), Instant::now());
        let peer = address("198.51.100.7");
        for _ in 0..9 {
            old.failed(peer, &rules, now);
        }
        let later = now + Duration::from_secs(50);
        new.take_over(old.hand_over(later), later);
        for seconds in [50, 60, 150, 1000] {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(new.wait(peer, &rules, at), old.wait(peer, &rules, at));
        }
    }

    #[test]
    fn failures_in_a_row_count_in_full() {
        let (mut penalties, rules, now) = (Penalties::new(), rules(), Instant::now());
        let peer = address("198.51.100.7");
        for count in 0..4 {
            penalties.failed(peer, &rules, now + Duration::from_secs(2 * count));
        }
        let wait = penalties.wait(peer, &rules, now + Duration::from_secs(8));
        assert_eq!(wait.as_secs(), 2);
    }

    proptest! {
        #[test]
        fn p9_a_wait_is_a_whole_number_of_delays_and_no_longer_than_configured(
            failures in 0usize..200, passed in 0u64..2000, delay in 1u32..5000, most in 0u32..60_000,
        ) {
            let rules = Throttle { failure_delay_ms: delay, source_wait_max_ms: most, ..rules() };
            let (mut penalties, now) = (Penalties::new(), Instant::now());
            for _ in 0..failures {
                penalties.failed(address("203.0.113.1"), &rules, now);
            }
            let wait = penalties.wait(address("203.0.113.1"), &rules, now + Duration::from_millis(passed));
            prop_assert_eq!(wait.as_millis() % u128::from(delay), 0);
            prop_assert!(wait.as_millis() <= most.into());
        }
    }
}
