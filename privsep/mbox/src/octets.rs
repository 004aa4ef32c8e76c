//! Counts what RETR will send, without converting: every LF that has no CR before it costs one byte more.

/// Counts the octets of successive pieces of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Octets {
    count: u64,
    /// The last byte counted. A CRLF may lie across two pieces.
    previous: u8,
}

/// How much is counted at a time: small enough to stay in the nearest cache for the second look.
const PIECE: usize = 16 * 1024;

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

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let with_cr = self.previous == b'\r' || memchr::memchr(b'\r', piece).is_some();
            let line_ends = if with_cr {
                bare_line_feeds(self.previous, piece)
            } else {
                memchr::memchr_iter(b'\n', piece).count()
            };
            self.count += piece.len() as u64 + line_ends as u64;
            self.previous = piece.last().copied().unwrap_or(self.previous);
        }
    }
}

/// How many LF have no CR before them. Sums of at most 255 in a byte let the compiler use vector instructions.
fn bare_line_feeds(previous: u8, bytes: &[u8]) -> usize {
    let Some(&first) = bytes.first() else {
        return 0;
    };
    let mut bare = usize::from(first == b'\n' && previous != b'\r');
    let (before, after) = (&bytes[..bytes.len() - 1], &bytes[1..]);
    for (before, after) in before.chunks(255).zip(after.chunks(255)) {
        let pairs = before.iter().zip(after);
        let sum: u8 = pairs
            .map(|(&before, &byte)| u8::from(byte == b'\n') & u8::from(before != b'\r'))
            .sum();
        bare += usize::from(sum);
    }
    bare
}
