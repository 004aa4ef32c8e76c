//! Lines out of pieces: ended by LF, with or without CR; bounded; wiped, since one may hold a password.

use zeroize::Zeroize;

/// Longest line with its end: RFC 2449 gives a command 255 octets, and a password may be longer.
pub(super) const MAX: usize = 1024;

/// A line was longer. It is passed over up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// What of a line has come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    complete: bool,
    skipping: bool,
}

impl Lines {
    /// The next line, without its end, and how many bytes were taken. `None`: it is not complete.
    pub(super) fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
    ) -> (usize, Option<Result<&'a [u8], TooLong>>) {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.skipping || self.partial.len() + bytes.len() > MAX {
                self.partial.zeroize();
                self.skipping = true;
            } else {
                self.keep(bytes);
            }
            return (bytes.len(), None);
        };
        let taken = end + 1;
        if self.skipping || self.partial.len() + taken > MAX {
            self.skipping = false;
            self.partial.zeroize();
            return (taken, Some(Err(TooLong)));
        }
        let line = if self.partial.is_empty() {
            &bytes[..end]
        } else {
            self.keep(&bytes[..end]);
            self.complete = true;
            &self.partial
        };
        (taken, Some(Ok(line.strip_suffix(b"\r").unwrap_or(line))))
    }

    /// Adds to the partial line. Its room is made at once: growing would leave copies behind that nobody wipes.
    fn keep(&mut self, bytes: &[u8]) {
        if self.partial.capacity() == 0 {
            self.partial = Vec::with_capacity(MAX);
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Whether a line has begun and is not complete.
    pub(super) fn is_partial(&self) -> bool {
        self.skipping || !self.partial.is_empty()
    }

    /// The line has been read: nothing of it stays.
    pub(super) fn done(&mut self) {
        if self.complete {
            self.partial.zeroize();
            self.partial = Vec::new();
            self.complete = false;
        }
    }
}
