//! Counts what RETR will send, without converting it. Every LF without a CR before it becomes one
//! byte more.

use crate::tally::Tally;

/// Counts the octets of successive pieces of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Octets {
    count: u64,
    /// The last byte that was counted. A CRLF may lie across two pieces.
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

    /// The sum. A last line without a line end is sent with one.
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

    /// Subtracts octets of hidden lines, which were added but are not sent.
    pub(crate) fn take_off(&mut self, octets: u64) {
        self.count -= octets;
    }

    /// Adds `bytes`. `tally` is their tally.
    pub(crate) fn add(&mut self, bytes: &[u8], tally: Tally) {
        self.count += bytes.len() as u64 + tally.bare_line_feeds as u64;
        self.previous = bytes.last().copied().unwrap_or(self.previous);
    }
}
