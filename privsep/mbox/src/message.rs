//! What a scan finds: messages as offsets into the spool, never their bytes.

/// The most messages of a maildrop. Message numbers have 32 bits in the protocol between processes.
pub const MESSAGES_MAX: usize = 16_000_000;

/// One message of the spool. All offsets are bytes from the start of the spool, and
/// `from_line < header <= body <= end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where the From_ line begins.
    pub from_line: u64,
    /// The first byte after the From_ line: what RETR sends begins here.
    pub header: u64,
    /// The first byte after the empty line that ends the header; `end` if there is no body.
    pub body: u64,
    /// One past the last byte that RETR sends. An empty line before the next From_ line or at the
    /// end of the spool is a separator. It is not part of the message.
    pub end: u64,
    /// How many bytes RETR sends, before dot-stuffing. Every line ends with CRLF, the last one too.
    pub octets: u64,
    /// The content key. [`crate::uidl`] says which bytes it is the hash of.
    pub digest: [u8; 16],
    /// The message's UIDL. `None`: it is the digest in hexadecimal.
    pub name: Option<Box<str>>,
    /// Whether it has the mark of c-client's pseudo message, which holds UIDVALIDITY. It is the
    /// pseudo message only if it is the spool's first one.
    pub pseudo: bool,
}

impl Message {
    /// The same message, `bytes` bytes nearer to the start of the spool.
    pub(crate) fn moved_down(&self, bytes: u64) -> Self {
        Self {
            from_line: self.from_line - bytes,
            header: self.header - bytes,
            body: self.body - bytes,
            end: self.end - bytes,
            ..self.clone()
        }
    }
}

/// All messages of a spool, in order. From the first From_ line on, they cover the spool without a
/// gap, except for [`Maildrop::tail`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maildrop {
    /// The messages, hidden ones too.
    pub messages: Vec<Message>,
    /// The spool's length in bytes.
    pub length: u64,
    /// How many bytes at the end of the spool belong to no message: a From_ line of which a
    /// delivery wrote only a part.
    pub tail: u64,
    /// What the Content-Lengths claim that do not hold now.
    pub claims: Claims,
}

/// The Content-Lengths that do not hold now and that point behind their message. Later bytes can
/// make one hold. Then the messages up to there become text of its own message.
///
/// The last message's Content-Length is left out, because that message is read again together with
/// what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The smallest offset near or behind the spool's end that a Content-Length points to. It can
    /// hold once mail is appended. `u64::MAX`: there is none.
    pub ahead: u64,
    /// Whether a Content-Length points to a place within the spool. It can hold once messages are
    /// deleted.
    pub within: bool,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            ahead: u64::MAX,
            within: false,
        }
    }
}

impl Claims {
    /// Adds a Content-Length that points to `target`, in a spool of `length` bytes.
    pub(crate) fn add(&mut self, target: u64, length: u64) {
        // A line end, and the longest From_ line with its line end.
        let looked_at = 2 + crate::from_line::LOOK as u64;
        if target.saturating_add(looked_at) > length {
            self.ahead = self.ahead.min(target);
        }
        self.within |= target < length;
    }
}

/// The most bytes that an index may have before the first From_ line: too few for a message.
const BEFORE_MAX: u64 = 24;

impl Maildrop {
    /// Where the first message begins.
    pub(crate) fn begin(&self) -> u64 {
        self.messages.first().map_or(0, |first| first.from_line)
    }

    /// Whether a scan could have found this maildrop, so that an index may hold it: messages in
    /// order, without gaps, within the length.
    pub(crate) fn is_possible(&self) -> bool {
        let mut start = self.begin();
        let in_order = self.messages.iter().enumerate().all(|(index, m)| {
            let segment_end = self.segment_end(index);
            let here = m.from_line == start
                && (m.from_line < m.header && m.header <= m.body && m.body <= m.end)
                && segment_end.checked_sub(m.end).is_some_and(|rest| rest <= 2)
                // Header lines can be hidden, so only the body counts for the least size. A line
                // feed can become two octets, and a last line without an end gets two more.
                && m.octets >= m.end - m.body
                && m.octets / 2 <= m.end - m.header + 1;
            start = segment_end;
            here
        });
        in_order
            && self.tail == 0
            && self.begin() <= BEFORE_MAX
            && start == self.length
            && self.messages.len() <= MESSAGES_MAX
    }

    /// Whether the message is the pseudo message. It is never shown and never deleted.
    pub fn is_hidden(&self, index: usize) -> bool {
        index == 0 && self.messages.first().is_some_and(|first| first.pseudo)
    }

    /// Where the segment of the message ends: at the next From_ line, or at the end of the spool
    /// without its tail. A segment is the From_ line, the message and its separator. An update
    /// moves or deletes whole segments.
    #[must_use]
    pub fn segment_end(&self, index: usize) -> u64 {
        let next = index
            .checked_add(1)
            .and_then(|next| self.messages.get(next));
        next.map_or(self.length.saturating_sub(self.tail), |next| next.from_line)
    }
}
