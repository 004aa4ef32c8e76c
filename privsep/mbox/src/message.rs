//! What a scan finds: messages as offsets into the spool, never their bytes.

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
    /// One past the last byte that RETR sends: the empty line before the next From_ line, or at the end of
    /// the spool, separates and is no content.
    pub end: u64,
    /// What RETR sends, in bytes: every line ended CRLF (the last one too), before dot-stuffing.
    pub octets: u64,
    /// The content key; [`crate::uidl`] says of what it is the hash.
    pub digest: [u8; 16],
    /// Its UIDL, if that is not simply the digest.
    pub name: Option<Box<str>>,
    /// Bears the mark of c-client's pseudo message, which holds UIDVALIDITY. It is one where it comes first.
    pub pseudo: bool,
}

impl Message {
    /// The same message, so many bytes nearer to the start of the spool.
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

/// All messages of a spool, in order. They cover it without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maildrop {
    /// The messages, hidden ones too.
    pub messages: Vec<Message>,
    /// The spool's length in bytes.
    pub length: u64,
}

impl Maildrop {
    /// Whether a scan could have found this: messages in order, without gaps, within the length.
    pub(crate) fn is_possible(&self) -> bool {
        let mut start = 0;
        let in_order = self.messages.iter().enumerate().all(|(index, m)| {
            let segment_end = self.segment_end(index);
            let here = m.from_line == start
                && (m.from_line < m.header && m.header <= m.body && m.body <= m.end)
                && segment_end.checked_sub(m.end).is_some_and(|rest| rest <= 2)
                // Of a header, lines can be hidden. A line feed can cost one octet more, and a last line without an end two.
                && m.octets >= m.end - m.body
                && m.octets / 2 <= m.end - m.header + 1;
            start = segment_end;
            here
        });
        in_order && start == self.length && self.messages.len() <= crate::scan::MESSAGES_MAX
    }

    /// Whether the message is the pseudo message: never shown and never deleted.
    pub fn is_hidden(&self, index: usize) -> bool {
        index == 0 && self.messages.first().is_some_and(|first| first.pseudo)
    }

    /// Where the segment of the message ends: the next From_ line, or the end of the spool. A segment is the
    /// From_ line, the message and its separator, what an update moves or drops.
    #[must_use]
    pub fn segment_end(&self, index: usize) -> u64 {
        let next = index
            .checked_add(1)
            .and_then(|next| self.messages.get(next));
        next.map_or(self.length, |next| next.from_line)
    }
}
