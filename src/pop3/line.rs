//! Assembles lines from the pieces that a socket delivers. A line ends with LF or CRLF. Its length
//! is bounded. Its bytes are wiped after use, because a line may hold a password.

use zeroize::Zeroize;

/// Longest command line with its end, in octets. RFC 2449 limits a command to 255 octets. Passwords
/// may be longer, so this bound is larger.
pub(super) const MAX: usize = 1024;

/// Longest line of AUTH and of the messages after it, in octets. RFC 5034 lets these lines be as
/// long as the mechanism needs. Bearer tokens need most: [`popward_proto::auth::TOKEN_MAX`], in
/// base64.
pub(super) const SASL_MAX: usize = 12 * 1024;

/// The line is longer than the bound. Its bytes are skipped up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong {
    /// Whether the line begins with `PASS `.
    pub(super) is_pass: bool,
}

/// The part of a line that has come so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    complete: bool,
    /// The current line is longer than the bound.
    skipping: Option<TooLong>,
}

impl Lines {
    /// Takes the next line from `bytes`. Returns how many bytes it took, and the line without its
    /// end. `None`: the line is not complete. `sasl`: the line is a message of an AUTH exchange,
    /// not a command. After use of the line the caller calls [`Lines::done`].
    pub(super) fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        sasl: bool,
    ) -> (usize, Option<Result<&'a [u8], TooLong>>) {
        let max = if sasl || self.begins(b"AUTH ", bytes) {
            SASL_MAX
        } else {
            MAX
        };
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.skipping.is_some() || self.partial.len() + bytes.len() > max {
                self.skipping = Some(self.too_long(bytes));
                self.partial.zeroize();
            } else {
                self.keep(bytes);
            }
            return (bytes.len(), None);
        };
        let taken = end + 1;
        if self.skipping.is_some() || self.partial.len() + taken > max {
            let too_long = self.too_long(bytes);
            self.skipping = None;
            self.partial.zeroize();
            return (taken, Some(Err(too_long)));
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

    /// What is known of the current line, which is too long and goes on with `bytes`.
    fn too_long(&self, bytes: &[u8]) -> TooLong {
        self.skipping.unwrap_or_else(|| TooLong {
            is_pass: self.begins(b"PASS ", bytes),
        })
    }

    /// Whether the current line, which goes on with `bytes`, begins with `keyword` in any case.
    fn begins(&self, keyword: &[u8], bytes: &[u8]) -> bool {
        let mut start = self.partial.iter().chain(bytes);
        keyword.iter().all(|expected| {
            start
                .next()
                .is_some_and(|byte| byte.eq_ignore_ascii_case(expected))
        })
    }

    /// Adds bytes to the partial line. It moves the line to a larger buffer itself and wipes the
    /// old one. `Vec` would leave a copy of a password in freed memory.
    fn keep(&mut self, bytes: &[u8]) {
        let needed = self.partial.len() + bytes.len();
        if self.partial.capacity() < needed {
            let room = if needed <= MAX { MAX } else { SASL_MAX };
            let mut larger = Vec::with_capacity(room);
            larger.extend_from_slice(&self.partial);
            self.partial.zeroize();
            self.partial = larger;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Whether the beginning of a line has come, but not its end.
    pub(super) fn is_partial(&self) -> bool {
        self.skipping.is_some() || !self.partial.is_empty()
    }

    /// The caller has used the line: wipes it.
    pub(super) fn done(&mut self) {
        if self.complete {
            self.partial.zeroize();
            self.partial = Vec::new();
            self.complete = false;
        }
    }
}
