//! What a UIDL is (RFC 1939, section 7), and the one that a message has by itself.
//!
//! The native UIDL is the message's digest in hexadecimal. The digest is the first 16 bytes of the
//! BLAKE3 hash of the From_ line and of every header line that no mail reader rewrites. The lines
//! are in order, each without its CR and LF and followed by one LF. The words of the From_ line are
//! each followed by one space. Left out, with their continuation lines: Status, X-Status,
//! X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines.

use crate::message::Message;

/// The most bytes of a UIDL (RFC 1939, section 7).
pub const MAX: usize = 70;

/// Whether this is a UIDL (RFC 1939, section 7): 1 to 70 characters from `!` to `~`.
pub fn is_valid(name: &[u8]) -> bool {
    (1..=MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

/// A digest in hexadecimal.
pub fn hexadecimal(digest: &[u8; 16]) -> [u8; 32] {
    let digit = |index: usize| {
        let byte = digest[index / 2];
        b"0123456789abcdef"[usize::from(if index % 2 == 0 { byte >> 4 } else { byte & 15 })]
    };
    std::array::from_fn(digit)
}

/// The UIDL of a message.
pub fn name(message: &Message) -> Box<str> {
    message.name.clone().unwrap_or_else(|| native(message))
}

impl Message {
    pub(crate) fn set_name(&mut self, name: &str) {
        self.name = (*name != *native(self)).then(|| name.into());
    }
}

/// Appends the UIDL of a message.
pub fn write(message: &Message, out: &mut Vec<u8>) {
    match &message.name {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => out.extend_from_slice(&hexadecimal(&message.digest)),
    }
}

fn native(message: &Message) -> Box<str> {
    String::from_utf8_lossy(&hexadecimal(&message.digest)).into()
}
