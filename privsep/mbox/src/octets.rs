//! Counts what RETR will send, without converting it. Every LF without a CR before it becomes one
//! byte more.

use memchr::memchr_iter;

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

    /// Adds a whole line, given without its line end. It is sent with CRLF.
    pub(crate) fn add_line(&mut self, line: &[u8]) {
        self.count += line.len() as u64 + 2;
        self.previous = b'\n';
    }

    /// Adds `bytes`.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else {
            return;
        };
        let line_feeds = memchr_iter(b'\n', bytes).count();
        let returns = memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) == Some(&b'\n'));
        let first = usize::from(self.previous == b'\r' && bytes[0] == b'\n');
        self.count += (bytes.len() + line_feeds - returns.count() - first) as u64;
        self.previous = *last;
    }

    /// The sum. A last line without a line end is sent with one.
    pub(crate) fn finish(self) -> u64 {
        self.count + if self.previous == b'\n' { 0 } else { 2 }
    }
}
