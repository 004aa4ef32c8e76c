//! A map with a bounded number of keys. It forgets the oldest.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Values by key, each with the time when it was last put.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    held: HashMap<K, (Instant, V)>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// An empty map for at most `most` keys (at least 4).
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(4),
            held: HashMap::new(),
        }
    }

    /// The last value of `key`, and when it was put.
    pub(super) fn get(&self, key: &K) -> Option<&(Instant, V)> {
        self.held.get(key)
    }

    /// Puts `value` under `key`. If the map is full, the oldest keys go.
    pub(super) fn put(&mut self, key: K, value: V, now: Instant) {
        if self.held.len() >= self.most && !self.held.contains_key(&key) {
            self.make_room();
        }
        self.held.insert(key, (now, value));
    }

    /// All keys, with the last value of each and when it was put.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &(Instant, V))> {
        self.held.iter()
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &K) {
        self.held.remove(key);
    }

    /// Forgets the oldest quarter. If only one key went, each new key would cost a search for it.
    fn make_room(&mut self) {
        let mut times: Vec<Instant> = self.held.values().map(|(at, _)| *at).collect();
        let quarter = times.len() / 4;
        let (_, youngest, _) = times.select_nth_unstable(quarter);
        let youngest = *youngest;
        let before = self.held.len();
        self.held.retain(|_, (at, _)| *at > youngest);
        debug_assert!(self.held.len() < before, "the youngest that goes has gone");
    }

    /// The number of keys.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

/// The age of `at` in milliseconds. A time cannot be sent to another process, but an age can.
pub(super) fn age_ms(at: Instant, now: Instant) -> u64 {
    let age = now.saturating_duration_since(at).as_millis();
    u64::try_from(age).unwrap_or(u64::MAX)
}

/// The time `age_ms` milliseconds before `now`. Returns `now` if the clock has no time so early,
/// because that shortens no penalty.
pub(super) fn aged(now: Instant, age_ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(age_ms))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_a_full_map_forgets_the_oldest_keys() {
        let start = Instant::now();
        let mut recent = Recent::new(100);
        for number in 0..10_000u32 {
            recent.put(number, number, start + Duration::from_millis(number.into()));
            assert!(recent.len() <= 100);
            assert_eq!(recent.get(&number).map(|(_, value)| *value), Some(number));
        }
        assert!((9_950..10_000).all(|number| recent.get(&number).is_some()));
        assert!(recent.get(&0).is_none());
    }

    #[test]
    fn p8_a_map_stays_bounded_if_all_keys_have_the_same_time() {
        let now = Instant::now();
        let mut recent = Recent::new(100);
        (0..1000u32).for_each(|number| recent.put(number, (), now));
        assert!(recent.len() <= 100);
        assert!(recent.get(&999).is_some());
    }
}
