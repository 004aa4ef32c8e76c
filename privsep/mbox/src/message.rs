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
    /// Names the message for its UIDL; [`crate::uidl`] says of what it is the hash.
    pub digest: [u8; 16],
    /// c-client's pseudo message, which holds UIDVALIDITY: never shown and never deleted.
    pub hidden: bool,
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
