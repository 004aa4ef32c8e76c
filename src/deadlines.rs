//! The times at which connections must be looked at again.
//!
//! An entry is not moved when its connection gets more time. When the entry is due, the event loop
//! asks the connection how much time it has left, and adds a new entry or ends the connection. So a
//! command does not touch the queue.

use crate::handle::Handle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The deadlines of all connections, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BinaryHeap<Reverse<(Instant, Handle)>>,
}

impl Deadlines {
    /// Adds a deadline. It cannot be removed. When it is due, the caller checks whether it still
    /// applies.
    pub(crate) fn add(&mut self, at: Instant, handle: Handle) {
        self.queue.push(Reverse((at, handle)));
    }

    /// The soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the soonest deadline and its time, if it is due at `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Instant, Handle)> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests;
