//! The keys of session tickets. They are made here, given to all fronts, and forgotten after two
//! periods.

use popward_proto::keys::{TicketKey, TicketKeys};
use std::time::{Duration, Instant};

/// A source of random bytes: fills the slice. `None` if the system gives no random bytes.
pub type Random = fn(&mut [u8]) -> Option<()>;

/// The current key and the one before it. A ticket can be opened for at least one period and at
/// most two periods.
#[derive(Debug)]
pub struct Tickets {
    random: Random,
    /// How long a key seals new tickets. `None` if tickets are off.
    period: Option<Duration>,
    /// `None` until a front asks.
    keys: Option<Keys>,
}

#[derive(Debug)]
struct Keys {
    current: TicketKey,
    previous: Option<TicketKey>,
    /// The start of the period of `current`. Periods follow each other without a gap. So this can
    /// be earlier than the moment at which the key was made.
    since: Instant,
}

impl Tickets {
    /// Tickets are off until [`Tickets::set_period`].
    pub fn new(random: Random) -> Self {
        Self {
            random,
            period: None,
            keys: None,
        }
    }

    /// Sets the period to `ticket_ms` milliseconds. 0 turns tickets off. If the period changes, the
    /// keys so far are forgotten.
    pub fn set_period(&mut self, ticket_ms: u32) {
        let period = (ticket_ms > 0).then(|| Duration::from_millis(ticket_ms.into()));
        if self.period != period {
            self.keys = None;
        }
        self.period = period;
    }

    /// The keys to give to a front at `now`. `None` if tickets are off, or without random bytes.
    pub fn at(&mut self, now: Instant) -> Option<TicketKeys> {
        self.rotate(now);
        let period = self.period?;
        if self.keys.is_none() {
            self.keys = Some(Keys {
                current: self.make_key()?,
                previous: None,
                since: now,
            });
        }
        let keys = self.keys.as_ref()?;
        let left = (keys.since + period).saturating_duration_since(now);
        Some(TicketKeys {
            current: keys.current.clone(),
            previous: keys.previous.clone(),
            left_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        })
    }

    /// Replaces and forgets keys that are too old at `now`. To be called at the time that
    /// [`Tickets::next`] returns, because old keys must go even if no front asks.
    pub fn rotate(&mut self, now: Instant) {
        let (Some(period), Some(keys)) = (self.period, self.keys.take()) else {
            return;
        };
        let age = now.saturating_duration_since(keys.since);
        self.keys = if age < period {
            Some(keys)
        } else if age < period * 2 {
            self.make_key().map(|current| Keys {
                current,
                previous: Some(keys.current),
                since: keys.since + period,
            })
        } else {
            // Both keys are too old. The next request starts a new period.
            None
        };
    }

    /// When the next rotation is due. `None` without keys.
    pub fn next(&self) -> Option<Instant> {
        Some(self.keys.as_ref()?.since + self.period?)
    }

    fn make_key(&self) -> Option<TicketKey> {
        let mut key = TicketKey {
            name: [0; 16],
            secret: [0; 32],
        };
        (self.random)(&mut key.name)?;
        (self.random)(&mut key.secret)?;
        Some(key)
    }
}

#[cfg(test)]
mod tests;
