//! Native UIDLs (RFC 1939, section 7): 32 hexadecimal digits of a message's digest.
//!
//! The digest is the first 16 bytes of the BLAKE3 hash of the From_ line and of every header line that no reader
//! rewrites, in order, each without its CR and LF and followed by one LF. Left out, with their continuation lines:
//! Status, X-Status, X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines.
//!
//! Messages with equal digests are told apart by a suffix, which stays with its message for as long as an index or
//! its own session remembers it: also when an earlier one of them is deleted.

use crate::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How much of a name stands before a suffix, in bytes: with the longest suffix it has not more than a UIDL's 70.
const BEFORE_SUFFIX: usize = 59;

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

/// Tells equal names apart, as Dovecot does with `pop3_uidl_duplicates = rename`: the first stays as it is, those behind it
/// get `-2`, `-3` and so on. A suffix is skipped where there is such a name already. Of a name so long that a suffix may make
/// it more than 70 bytes, the first 59 are kept before it.
pub fn unique(names: &mut [Box<str>]) {
    let mut taken: BTreeSet<Box<str>> = BTreeSet::new();
    let mut repeats = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if !taken.insert(name.clone()) {
            repeats.push(index);
        }
    }
    // The last number that was given, so that many equal names take no longer than as many different ones.
    let mut last: BTreeMap<Box<str>, u64> = BTreeMap::new();
    for index in repeats {
        let start = shortened(&names[index]).to_owned();
        let number = last.entry(start.as_str().into()).or_insert(1);
        names[index] = loop {
            *number += 1;
            let name: Box<str> = format!("{start}-{number}").into();
            if taken.insert(name.clone()) {
                break name;
            }
        };
    }
}

/// What stands before a suffix.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(BEFORE_SUFFIX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests;
