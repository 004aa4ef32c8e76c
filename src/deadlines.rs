//! When which connection must be looked at again. A connection stands in here with the time at which it asked to
//! be looked at; when that comes it says how much longer it has, or ends. So a command costs the queue nothing.

use crate::handle::Handle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The connections' deadlines, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BinaryHeap<Reverse<(Instant, Handle)>>,
}

impl Deadlines {
    /// Has `handle` looked at, at `at`. An entry is never taken back: whoever gets it checks whether it still means
    /// anything.
    pub(crate) fn add(&mut self, at: Instant, handle: Handle) {
        self.queue.push(Reverse((at, handle)));
    }

    /// The soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a deadline that has passed, with its time.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Instant, Handle)> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests;
