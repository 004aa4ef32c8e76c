//! UIDLs (RFC 1939, section 7): each message of a maildrop has one that no other message has, and
//! keeps it.
//!
//! The native UIDL is the message's digest in hexadecimal. The digest is the first 16 bytes of the
//! BLAKE3 hash of the From_ line and of every header line that no mail reader rewrites. The lines
//! are in order, each without its CR and LF and followed by one LF. The words of the From_ line are
//! each followed by one space. Left out, with their continuation lines: Status, X-Status,
//! X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, Content-Length, Lines.
//!
//! If a UIDL is taken, the message gets it with a suffix. A UIDL is pinned if a later reading of
//! the spool might not find it again: UIDLs with a suffix, and UIDLs of messages with equal
//! digests.

use crate::message::{Maildrop, Message};
use crate::pins::Pins;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most bytes of a UIDL (RFC 1939, section 7).
pub const MAX: usize = 70;

/// The most bytes of a name before a suffix. With the longest suffix it has at most the 70 bytes of
/// a UIDL.
const BEFORE_SUFFIX: usize = 59;

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
    fn set_name(&mut self, name: &str) {
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

/// Gives `messages` the UIDLs of the messages in `known`, which is what the spool was before. The
/// first message with a digest takes the UIDL of the first known message with that digest, and so
/// on. Returns which messages have a UIDL now.
pub fn carry_over(messages: &mut [Message], known: &[Message]) -> Vec<bool> {
    let mut named = vec![false; messages.len()];
    // If mail was only appended, all messages before it are where they were.
    let equal = messages.iter().zip(known);
    let same = equal.take_while(|(new, old)| new.digest == old.digest);
    let same = same.count();
    let mut rest: BTreeMap<[u8; 16], VecDeque<&Message>> = BTreeMap::new();
    for old in &known[same..] {
        rest.entry(old.digest).or_default().push_back(old);
    }
    for (index, message) in messages.iter_mut().enumerate() {
        let old = if index < same {
            Some(&known[index])
        } else {
            rest.get_mut(&message.digest).and_then(VecDeque::pop_front)
        };
        if let Some(old) = old {
            message.name.clone_from(&old.name);
            named[index] = true;
        }
    }
    named
}

/// Gives a UIDL to each message that is not `named` yet: the pinned one, or else the one of `base`
/// (a valid UIDL) if it has one, or else the native one.
///
/// Returns whether `pins` has changed. Then the pins must be on disk before a client is told a
/// UIDL.
pub fn assign(
    maildrop: &mut Maildrop,
    named: &[bool],
    base: impl Fn(usize) -> Option<Box<str>>,
    pins: &mut Pins,
) -> bool {
    let first = usize::from(maildrop.is_hidden(0));
    let messages = &mut maildrop.messages;
    let new: Vec<usize> = (first..messages.len())
        .filter(|index| !named[*index])
        .collect();
    let digests: BTreeSet<[u8; 16]> = new.iter().map(|index| messages[*index].digest).collect();
    // The messages with each of these digests, in order.
    let mut groups: BTreeMap<[u8; 16], Vec<usize>> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate().skip(first) {
        if digests.contains(&message.digest) {
            groups.entry(message.digest).or_default().push(index);
        }
    }
    // The usual case: all UIDLs are native, and no other message has a new one's digest.
    let native_only = pins.is_empty()
        && groups.values().all(|group| group.len() == 1)
        && messages[first..]
            .iter()
            .all(|message| message.name.is_none())
        && new.iter().all(|index| base(*index).is_none());
    if native_only {
        return false;
    }
    let carried = (first..messages.len()).filter(|index| named[*index]);
    let mut fixed: BTreeSet<Box<str>> = carried.map(|index| name(&messages[index])).collect();
    let mut others: Vec<(usize, Box<str>)> = Vec::new();
    let mut to_pin = BTreeSet::new();
    for index in new {
        let digest = messages[index].digest;
        let group = &groups[&digest];
        let place = group.binary_search(&index).unwrap_or(0);
        match pins.of(&digest).get(place) {
            Some(pinned) if fixed.insert(pinned.clone()) => messages[index].set_name(pinned),
            _ => {
                if group.len() > 1 {
                    to_pin.insert(digest);
                }
                let name = base(index).unwrap_or_else(|| native(&messages[index]));
                others.push((index, name));
            }
        }
    }
    // Among equal messages, a deleted one may have had the plain UIDL or a suffix. A new message
    // must not get the same UIDL.
    let mut last: BTreeMap<Box<str>, u64> = BTreeMap::new();
    let looked_for = others
        .iter()
        .map(|(index, base)| (messages[*index].digest, shortened(base)));
    for (digest, start) in looked_for.collect::<BTreeSet<_>>() {
        let equal = groups[&digest]
            .iter()
            .filter_map(|index| messages[*index].name.as_ref());
        let fixed = equal.filter(|name| fixed.contains(*name));
        let suffixes = fixed.filter_map(|name| {
            name.strip_prefix(start)?
                .strip_prefix('-')?
                .parse::<u32>()
                .ok()
        });
        if let Some(most) = suffixes.max() {
            last.insert(start.into(), most.into());
        }
    }
    let mut names: Vec<Box<str>> = others.iter().map(|(_, name)| name.clone()).collect();
    unique(&mut names, &fixed, last);
    let mut shared = BTreeSet::new();
    for ((index, base), name) in others.iter().zip(&names) {
        if name != base {
            to_pin.insert(messages[*index].digest);
            shared.insert(base);
        }
        messages[*index].set_name(name);
    }
    if to_pin.is_empty() {
        return false;
    }
    // The message that has the plain UIDL is pinned too, because another reading could find the
    // messages in another order.
    for message in &messages[first..] {
        if shared.contains(&name(message)) {
            to_pin.insert(message.digest);
        }
    }
    let mut pinned: BTreeMap<[u8; 16], Vec<Box<str>>> = BTreeMap::new();
    for message in &messages[first..] {
        if to_pin.contains(&message.digest) {
            pinned
                .entry(message.digest)
                .or_default()
                .push(name(message));
        }
    }
    for (digest, names) in pinned {
        pins.set(digest, names);
    }
    true
}

/// The pins once the messages that `deleted` marks are gone. `None`: the pins stay as they are.
pub fn pins_left(pins: &Pins, maildrop: &Maildrop, deleted: &[bool]) -> Option<Pins> {
    let all = || maildrop.messages.iter().zip(deleted);
    let gone = all().filter(|(message, gone)| **gone && !pins.of(&message.digest).is_empty());
    let mut left: BTreeMap<[u8; 16], Vec<Box<str>>> = gone
        .map(|(message, _)| (message.digest, Vec::new()))
        .collect();
    if left.is_empty() {
        return None;
    }
    for (message, _) in all().filter(|(_, gone)| !**gone) {
        if let Some(names) = left.get_mut(&message.digest) {
            names.push(name(message));
        }
    }
    let mut pins = pins.clone();
    for (digest, names) in left {
        pins.set(digest, names);
    }
    Some(pins)
}

/// Makes equal names different, as Dovecot does with `pop3_uidl_duplicates = rename`: the first one
/// stays as it is, and the later ones get `-2`, `-3` and so on. A suffix is skipped if there is
/// such a name already. If a suffix might make a name longer than 70 bytes, only the name's first
/// 59 bytes stand before it.
///
/// Names in `fixed` belong to other messages already. `last` holds numbers by name: that name and
/// its suffixes up to the number are not given.
pub fn unique(
    names: &mut [Box<str>],
    fixed: &BTreeSet<Box<str>>,
    mut last: BTreeMap<Box<str>, u64>,
) {
    let mut taken = fixed.clone();
    let mut repeats = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if last.contains_key(shortened(name)) || !taken.insert(name.clone()) {
            repeats.push(index);
        }
    }
    for index in repeats {
        let start: Box<str> = shortened(&names[index]).into();
        // The search goes on from the last number that was given. So many equal names take no
        // longer than many different ones.
        let number = last.entry(start.clone()).or_insert(1);
        names[index] = loop {
            *number += 1;
            let name: Box<str> = format!("{start}-{number}").into();
            if taken.insert(name.clone()) {
                break name;
            }
        };
    }
}

/// The part of a name that stands before a suffix.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(BEFORE_SUFFIX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests;
