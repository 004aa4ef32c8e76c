//! Lines out of pieces: ended by LF, with or without CR; bounded; wiped, since one may hold a password.

use zeroize::Zeroize;

/// Longest command line with its end: RFC 2449 gives a command 255 octets, and a password may be longer.
pub(super) const MAX: usize = 1024;

/// Longest line of AUTH and of the messages after it, in octets: RFC 5034 lets them be as long as the mechanism needs, and
/// of all mechanisms bearer tokens need most ([`popward_proto::auth::TOKEN_MAX`], in base64).
pub(super) const SASL_MAX: usize = 12 * 1024;

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
    /// The next line, without its end, and how many bytes were taken. `None`: it is not complete. `sasl`: it is no command
    /// but a message of AUTH.
    pub(super) fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        sasl: bool,
    ) -> (usize, Option<Result<&'a [u8], TooLong>>) {
        let max = if sasl || self.is_auth(bytes) {
            SASL_MAX
        } else {
            MAX
        };
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.skipping || self.partial.len() + bytes.len() > max {
                self.partial.zeroize();
                self.skipping = true;
            } else {
                self.keep(bytes);
            }
            return (bytes.len(), None);
        };
        let taken = end + 1;
        if self.skipping || self.partial.len() + taken > max {
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

    /// Whether what has come of this line begins with AUTH.
    fn is_auth(&self, bytes: &[u8]) -> bool {
        let mut start = self.partial.iter().chain(bytes);
        b"AUTH ".iter().all(|expected| {
            start
                .next()
                .is_some_and(|byte| byte.eq_ignore_ascii_case(expected))
        })
    }

    /// Adds to the partial line. Room is made without leaving a copy behind that nobody wipes.
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
