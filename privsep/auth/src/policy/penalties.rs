//! What failures cost a source: a wait before its next credentials are looked at, which grows with each and is forgotten
//! with time. In whole failure delays, so that a source that waits learns no more from times than one that does not (P9).

use super::recent::Recent;
use popward_proto::monitor_auth::Throttle;
use popward_proto::network::Network;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most sources that are remembered: about 1.5 MiB.
const SOURCES_MAX: usize = 16_384;

/// The failures of all sources.
#[derive(Debug)]
pub(crate) struct Penalties {
    /// How many failures were not forgotten when the last one came.
    failures: Recent<Network, f64>,
}

impl Penalties {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            failures: Recent::new(SOURCES_MAX),
        }
    }

    /// How long `peer` waits now: nothing below `source_failures`, then one delay, and double at each further so many.
    pub(crate) fn wait(&self, peer: IpAddr, rules: &Throttle, now: Instant) -> Duration {
        let delay = Duration::from_millis(rules.failure_delay_ms.into());
        if rules.source_failures == 0 || delay.is_zero() || exempt(peer, rules) {
            return Duration::ZERO;
        }
        let failures = self.failures(peer, rules, now);
        // Of failures in a row, each has a bit forgotten when the last one comes: they still are so many.
        let times = (failures.round() / f64::from(rules.source_failures)).floor();
        if times < 1.0 {
            return Duration::ZERO;
        }
        let delays = 2f64.powf((times - 1.0).min(20.0));
        let most = f64::from(rules.source_wait_max_ms / rules.failure_delay_ms);
        delay.mul_f64(delays.min(most))
    }

    /// `peer` has failed.
    pub(crate) fn failed(&mut self, peer: IpAddr, rules: &Throttle, now: Instant) {
        if rules.source_failures > 0 && !exempt(peer, rules) {
            let failures = self.failures(peer, rules, now) + 1.0;
            self.failures.put(Network::source(peer), failures, now);
        }
    }

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
    fn waits_grow_have_a_bound_and_are_forgotten() {
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
    fn an_ipv6_source_cannot_go_round_it_in_its_64_and_the_exempt_never_wait() {
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
    fn failures_in_a_row_count_whole() {
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
