//! The keys of session tickets: made here, given to all fronts, and gone when their time is over.

use popward_proto::keys::{TicketKey, TicketKeys};
use std::time::{Duration, Instant};

/// Fills bytes that nobody can guess. `None` where the system has no randomness.
pub type Random = fn(&mut [u8]) -> Option<()>;

/// The current key and the one before it. A ticket can be opened for at least one period and at most two.
#[derive(Debug)]
pub struct Tickets {
    random: Random,
    /// `None`: there are no tickets.
    period: Option<Duration>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    current: TicketKey,
    previous: Option<TicketKey>,
    /// When `current` was made, or would have been: periods follow each other without a gap.
    since: Instant,
}

impl Tickets {
    /// No tickets yet.
    pub fn new(random: Random) -> Self {
        Self {
            random,
            period: None,
            held: None,
        }
    }

    /// Makes a key every `ticket_ms` milliseconds from now on, or none if it is 0. Keys that were made by another
    /// period are forgotten.
    pub fn set_period(&mut self, ticket_ms: u32) {
        let period = (ticket_ms > 0).then(|| Duration::from_millis(ticket_ms.into()));
        if self.period != period {
            self.held = None;
        }
        self.period = period;
    }

    /// What fronts are given now. `None` where there are no tickets.
    pub fn at(&mut self, now: Instant) -> Option<TicketKeys> {
        self.rotate(now);
        let period = self.period?;
        if self.held.is_none() {
            self.held = Some(Held {
                current: self.make()?,
                previous: None,
                since: now,
            });
        }
        let held = self.held.as_ref()?;
        let left = (held.since + period).saturating_duration_since(now);
        Some(TicketKeys {
            current: held.current.clone(),
            previous: held.previous.clone(),
            left_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        })
    }

    /// Forgets what is too old at `now`. Nobody has to ask for that: [`Tickets::next`] says when it is due.
    pub fn rotate(&mut self, now: Instant) {
        let (Some(period), Some(held)) = (self.period, self.held.take()) else {
            return;
        };
        let age = now.saturating_duration_since(held.since);
        self.held = if age < period {
            Some(held)
        } else if age < period * 2 {
            self.make().map(|current| Held {
                current,
                previous: Some(held.current),
                since: held.since + period,
            })
        } else {
            // Nobody asked for a whole period: the next one who does begins anew.
            None
        };
    }

    /// When the next rotation is due.
    pub fn next(&self) -> Option<Instant> {
        Some(self.held.as_ref()?.since + self.period?)
    }

    fn make(&self) -> Option<TicketKey> {
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
