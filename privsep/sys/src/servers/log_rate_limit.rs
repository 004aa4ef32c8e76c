//! A rate limit for log lines: one line a minute about each thing that happens again and again.
//!
//! Strangers decide how often most warnings are due. Without this limit they could fill the disk.
//! Pure: times are passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The time between two lines about the same thing.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Most things that are remembered at once. This also bounds the lines within one [`INTERVAL`].
/// While so many are remembered, no line is written about another thing.
pub const KEYS_MAX: usize = 1024;

/// When a line about each thing was last written, and how often the thing has happened since.
/// `K` names a thing: an address, a user, a cause.
#[derive(Debug)]
pub struct LogRateLimit<K> {
    lines: HashMap<K, (Instant, u32)>,
    /// When entries older than [`INTERVAL`] were last removed from `lines`.
    swept: Option<Instant>,
}

impl<K> Default for LogRateLimit<K> {
    fn default() -> Self {
        let lines = HashMap::new();
        Self { lines, swept: None }
    }
}

impl<K: Hash + Eq> LogRateLimit<K> {
    /// Counts that `key` has happened at `now`. If a line about it may be written, returns how
    /// often it has happened since the last line, this time included.
    pub fn may_log(&mut self, key: K, now: Instant) -> Option<u32> {
        let within = |at: Instant, time| now.saturating_duration_since(at) < time;
        if let Some((at, unwritten)) = self.lines.get_mut(&key) {
            *unwritten = unwritten.saturating_add(1);
            if within(*at, INTERVAL) {
                return None;
            }
            *at = now;
            return Some(std::mem::take(unwritten));
        }
        // At most one sweep a second. A sweep at each call would be slow while the map stays full.
        if self.lines.len() >= KEYS_MAX && !self.swept.is_some_and(|at| within(at, INTERVAL / 60)) {
            self.lines.retain(|_, (at, _)| within(*at, INTERVAL));
            self.swept = Some(now);
        }
        if self.lines.len() >= KEYS_MAX {
            return None;
        }
        self.lines.insert(key, (now, 0));
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_says_how_often_the_thing_happened() {
        let (mut limit, start) = (LogRateLimit::default(), Instant::now());
        assert_eq!(limit.may_log("this", start), Some(1));
        for _ in 0..7 {
            assert_eq!(limit.may_log("this", start + INTERVAL / 2), None);
        }
        assert_eq!(limit.may_log("that", start), Some(1));
        assert_eq!(limit.may_log("this", start + INTERVAL), Some(8));
        assert_eq!(limit.may_log("this", start + INTERVAL), None);
        assert_eq!(limit.may_log("this", start + INTERVAL * 2), Some(2));
    }

    #[test]
    fn p8_many_things_fill_neither_the_log_nor_memory() {
        let (mut limit, start) = (LogRateLimit::default(), Instant::now());
        let lines = |limit: &mut LogRateLimit<u32>, now| {
            let written = |number: &u32| limit.may_log(*number, now).is_some();
            (0..5000u32).filter(written).count()
        };
        assert_eq!(lines(&mut limit, start), KEYS_MAX);
        assert_eq!(lines(&mut limit, start + INTERVAL / 2), 0);
        assert_eq!(lines(&mut limit, start + INTERVAL), KEYS_MAX);
        assert!(limit.lines.len() <= KEYS_MAX);
    }
}
