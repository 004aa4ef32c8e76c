//! What was said lately: whoever repeats something (strangers above all) must not be able to fill the log. Pure: times are
//! passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long nothing more is said about one thing.
pub const HUSH: Duration = Duration::from_secs(60);

/// Things that are remembered at once, and so as many lines about single ones in [`HUSH`] at most. What is beyond is left unsaid.
pub const REMEMBERED: usize = 1024;

/// When each of some things was last said, and how often it was met since.
#[derive(Debug)]
pub struct Hush<K> {
    said: HashMap<K, (Instant, u32)>,
    /// When `said` was last rid of what is older than [`HUSH`].
    swept: Option<Instant>,
}

impl<K> Default for Hush<K> {
    fn default() -> Self {
        let said = HashMap::new();
        Self { said, swept: None }
    }
}

impl<K: Hash + Eq> Hush<K> {
    /// Whether a line about `what` may be written now; if so, there is none for the next minute, and this is how often it was met
    /// since the line before, now among it.
    pub fn may_say(&mut self, what: K, now: Instant) -> Option<u32> {
        let within = |at: Instant, time| now.saturating_duration_since(at) < time;
        if let Some((at, unsaid)) = self.said.get_mut(&what) {
            *unsaid = unsaid.saturating_add(1);
            if within(*at, HUSH) {
                return None;
            }
            *at = now;
            return Some(std::mem::take(unsaid));
        }
        // Not at each of the many that find it full.
        if self.said.len() >= REMEMBERED && !self.swept.is_some_and(|at| within(at, HUSH / 60)) {
            self.said.retain(|_, (at, _)| within(*at, HUSH));
            self.swept = Some(now);
        }
        if self.said.len() >= REMEMBERED {
            return None;
        }
        self.said.insert(what, (now, 0));
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_is_written_with_how_often_it_was_met() {
        let (mut hush, start) = (Hush::default(), Instant::now());
        assert_eq!(hush.may_say("this", start), Some(1));
        for _ in 0..7 {
            assert_eq!(hush.may_say("this", start + HUSH / 2), None);
        }
        assert_eq!(hush.may_say("that", start), Some(1));
        assert_eq!(hush.may_say("this", start + HUSH), Some(8));
        assert_eq!(hush.may_say("this", start + HUSH), None);
        assert_eq!(hush.may_say("this", start + HUSH * 2), Some(2));
    }

    #[test]
    fn p8_many_things_cannot_fill_the_log_nor_memory() {
        let (mut hush, start) = (Hush::default(), Instant::now());
        let lines = |hush: &mut Hush<u32>, now| {
            let said = |number: &u32| hush.may_say(*number, now).is_some();
            (0..5000u32).filter(said).count()
        };
        assert_eq!(lines(&mut hush, start), REMEMBERED);
        assert_eq!(lines(&mut hush, start + HUSH / 2), 0);
        assert_eq!(lines(&mut hush, start + HUSH), REMEMBERED);
        assert!(hush.said.len() <= REMEMBERED);
    }
}
