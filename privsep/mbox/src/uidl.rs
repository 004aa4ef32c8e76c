//! Native UIDLs (RFC 1939, section 7): 32 hexadecimal digits of a message's digest.
//!
//! The digest is the first 16 bytes of the BLAKE3 hash of the From_ line and of every header line that no reader
//! rewrites, in order, each without its CR and LF and followed by one LF. Left out, with their continuation lines:
//! Status, X-Status, X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines.
//!
//! Messages with equal digests are told apart by a suffix in order of occurrence. A suffix that stays with its message
//! when an earlier one is deleted needs state; it will have its place here.

use crate::message::Maildrop;
use std::fmt::Write;

/// The UIDLs of a maildrop.
#[derive(Debug)]
pub struct Uidls {
    /// Each message's digest, and how many before it have the same.
    entries: Vec<([u8; 16], u32)>,
}

impl Uidls {
    /// Names all messages of `maildrop`.
    pub fn new(maildrop: &Maildrop) -> Self {
        let mut entries: Vec<_> = maildrop.messages.iter().map(|m| (m.digest, 0)).collect();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| (entries[*index].0, *index));
        for pair in order.windows(2) {
            if entries[pair[0]].0 == entries[pair[1]].0 {
                entries[pair[1]].1 = entries[pair[0]].1 + 1;
            }
        }
        Self { entries }
    }

    /// The UIDL of the message with this index: 32 to 43 characters. Empty where there is none.
    pub fn get(&self, index: usize) -> String {
        let Some((digest, repeat)) = self.entries.get(index) else {
            return String::new();
        };
        let mut text = String::with_capacity(43);
        // Writing to a string cannot fail.
        for byte in digest {
            let _ = write!(text, "{byte:02x}");
        }
        if *repeat > 0 {
            let _ = write!(text, "-{}", u64::from(*repeat) + 1);
        }
        text
    }
}
