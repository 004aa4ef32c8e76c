//! Native UIDLs (RFC 1939, section 7): 32 hexadecimal digits of a message's digest.
//!
//! The digest is the first 16 bytes of the BLAKE3 hash of the From_ line and of every header line that no reader
//! rewrites, in order, each without its CR and LF and followed by one LF. Left out, with their continuation lines:
//! Status, X-Status, X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines.
//!
//! Messages with equal digests are told apart by a suffix, which stays with its message for as long as an index or
//! its own session remembers it: also when an earlier one of them is deleted.

use crate::message::Message;
use std::fmt::Write;

/// Tells messages with equal digests apart. Those that are in `known`, what the spool was before, keep their numbers: the
/// first with a digest takes the first one's, and so on. New ones get numbers that none had.
pub fn tell_apart(messages: &mut [Message], known: &[Message]) {
    let by_digest = |messages: &[Message]| {
        let mut order: Vec<([u8; 16], usize)> = Vec::with_capacity(messages.len());
        order.extend(messages.iter().map(|m| m.digest).zip(0..));
        order.sort_unstable();
        order
    };
    let (order, old) = (by_digest(messages), by_digest(known));
    let mut old = old.into_iter().peekable();
    for group in order.chunk_by(|one, other| one.0 == other.0) {
        let digest = group[0].0;
        while old.next_if(|(other, _)| *other < digest).is_some() {}
        let same = std::iter::from_fn(|| old.next_if(|(other, _)| *other == digest));
        let numbers: Vec<u32> = same.map(|(_, index)| known[index].repeat).collect();
        let unused = numbers
            .iter()
            .max()
            .map_or(0, |most| most.saturating_add(1));
        for ((_, index), number) in group.iter().zip(numbers.iter().copied().chain(unused..)) {
            messages[*index].repeat = number;
        }
    }
}

/// The UIDL of a message: 32 to 43 characters.
pub fn name(message: &Message) -> String {
    let mut text = String::with_capacity(43);
    // Writing to a string cannot fail.
    for byte in message.digest {
        let _ = write!(text, "{byte:02x}");
    }
    if message.repeat > 0 {
        let _ = write!(text, "-{}", u64::from(message.repeat) + 1);
    }
    text
}

#[cfg(test)]
mod tests;
