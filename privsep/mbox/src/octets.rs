//! Counts what RETR will send, without converting: every LF that has no CR before it costs one byte more.

use crate::tally::Tally;

/// Counts the octets of successive pieces of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Octets {
    count: u64,
    /// The last byte counted. A CRLF may lie across two pieces.
    previous: u8,
}

impl Octets {
    /// Starts at the start of a line.
    pub(crate) fn new() -> Self {
        Self {
            count: 0,
            previous: b'\n',
        }
    }

    /// The sum: a last line without an end is sent with one.
    pub(crate) fn finish(self) -> u64 {
        if self.previous == b'\n' {
            self.count
        } else {
            self.count + 2
        }
    }

    /// The byte before the next piece.
    pub(crate) fn previous(self) -> u8 {
        self.previous
    }

    /// Takes off so many again, that were added and are not sent.
    pub(crate) fn take_off(&mut self, octets: u64) {
        self.count -= octets;
    }

    /// Adds `bytes`, of which this is the tally.
    pub(crate) fn add(&mut self, bytes: &[u8], tally: Tally) {
        self.count += bytes.len() as u64 + tally.bare_line_feeds as u64;
        self.previous = bytes.last().copied().unwrap_or(self.previous);
    }
}
