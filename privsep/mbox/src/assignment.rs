//! Which message gets which UIDL: no two messages of a maildrop have one, and each keeps its own.
//!
//! If a UIDL is taken, the message gets it with a suffix. A UIDL is pinned if a later reading of
//! the spool might not find it again: UIDLs with a suffix, and UIDLs of messages with equal
//! digests.

use crate::message::{Maildrop, Message};
use crate::pins::Pins;
use crate::uidl::name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most bytes of a name before a suffix. With the longest suffix it has at most the 70 bytes of
/// a UIDL.
const BEFORE_SUFFIX: usize = 59;

/// Gives `messages` the UIDLs of the messages in `known`, which is what the spool was before. The
/// first message with a digest takes the UIDL of the first known message with that digest, and so
/// on. Returns which messages have a UIDL now.
pub fn carry_over(messages: &mut [Message], known: &[Message]) -> Vec<bool> {
    let mut left: BTreeMap<[u8; 16], VecDeque<&Message>> = BTreeMap::new();
    for old in known {
        left.entry(old.digest).or_default().push_back(old);
    }
    let mut carry = |message: &mut Message| {
        let old = left.get_mut(&message.digest).and_then(VecDeque::pop_front);
        if let Some(old) = old {
            message.name.clone_from(&old.name);
        }
        old.is_some()
    };
    messages.iter_mut().map(&mut carry).collect()
}

/// Gives a UIDL to each message that is not `named` yet: the pinned one, or else the one that it
/// has now, which is the native one or another server's.
///
/// Returns whether `pins` has changed. Then the pins must be on disk before a client is told a
/// UIDL.
pub fn assign(maildrop: &mut Maildrop, named: &[bool], pins: &mut Pins) -> bool {
    let first = usize::from(maildrop.is_hidden(0));
    let (messages, named) = (&mut maildrop.messages[first..], &named[first..]);
    let new: Vec<usize> = (0..messages.len()).filter(|index| !named[*index]).collect();
    // The messages with the digest of a new one, in order.
    let digests = new
        .iter()
        .map(|index| (messages[*index].digest, Vec::new()));
    let mut equal: Groups = digests.collect();
    for (index, message) in messages.iter().enumerate() {
        if let Some(group) = equal.get_mut(&message.digest) {
            group.push(index);
        }
    }
    // The usual case: all UIDLs are native, and no other message has a new one's digest.
    let native_only = pins.is_empty() && messages.iter().all(|message| message.name.is_none());
    if native_only && equal.values().all(|group| group.len() == 1) {
        return false;
    }
    let carried = messages.iter().zip(named).filter(|(_, named)| **named);
    let mut fixed: BTreeSet<Box<str>> = carried.map(|(message, _)| name(message)).collect();
    let mut others = Vec::new();
    for index in new {
        let digest = messages[index].digest;
        let place = equal[&digest].binary_search(&index).unwrap_or(0);
        match pins.of(&digest).get(place) {
            Some(pinned) if fixed.insert(pinned.clone()) => messages[index].set_name(pinned),
            _ => others.push(index),
        }
    }
    let bases: Vec<Box<str>> = others.iter().map(|index| name(&messages[*index])).collect();
    let last = last_suffixes(messages, &equal, &others);
    let mut names = bases.clone();
    unique(&mut names, &fixed, last);
    let (mut to_pin, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for ((index, base), name) in others.into_iter().zip(&bases).zip(&names) {
        let digest = messages[index].digest;
        if name != base {
            shared.insert(base);
        }
        if name != base || equal[&digest].len() > 1 {
            to_pin.insert(digest);
        }
        messages[index].set_name(name);
    }
    // The message that has the plain UIDL is pinned too, because another reading could find the
    // messages in another order.
    if !shared.is_empty() {
        let plain = messages.iter().filter(|m| shared.contains(&name(m)));
        to_pin.extend(plain.map(|message| message.digest));
    }
    let changes = !to_pin.is_empty();
    pin(pins, to_pin, messages.iter());
    changes
}

/// Indexes of messages, by their digest.
type Groups = BTreeMap<[u8; 16], Vec<usize>>;

/// The largest suffix of each name that a message in `others` would have, among the messages that
/// are equal to it and have their UIDL already. Among equal messages, a deleted one may have had
/// the plain UIDL or a suffix. A new message must not get the same UIDL.
fn last_suffixes(
    messages: &[Message],
    equal: &Groups,
    others: &[usize],
) -> BTreeMap<Box<str>, u64> {
    let wanted = others.iter().map(|index| {
        let message = &messages[*index];
        (message.digest, shortened(&name(message)).to_owned())
    });
    let mut last = BTreeMap::new();
    for (digest, start) in wanted.collect::<BTreeSet<_>>() {
        let group = equal[&digest].iter();
        let named = group.filter(|index| others.binary_search(index).is_err());
        let suffixes = named.filter_map(|index| {
            let suffix = messages[*index].name.as_ref()?.strip_prefix(&*start)?;
            suffix.strip_prefix('-')?.parse::<u32>().ok()
        });
        if let Some(most) = suffixes.max() {
            last.insert(start.into(), most.into());
        }
    }
    last
}

/// Pins the UIDLs of all `messages` with one of these digests. Other pins of these digests go.
pub fn pin<'m>(
    pins: &mut Pins,
    digests: BTreeSet<[u8; 16]>,
    messages: impl Iterator<Item = &'m Message>,
) {
    let no_names = |digest| (digest, Vec::new());
    let mut names: BTreeMap<_, Vec<_>> = digests.into_iter().map(no_names).collect();
    for message in messages {
        if let Some(names) = names.get_mut(&message.digest) {
            names.push(name(message));
        }
    }
    for (digest, names) in names {
        pins.set(digest, names);
    }
}

/// The pins once the messages that `deleted` marks are gone. `None`: the pins stay as they are.
pub fn pins_left(pins: &Pins, maildrop: &Maildrop, deleted: &[bool]) -> Option<Pins> {
    let all = || maildrop.messages.iter().zip(deleted);
    let gone = all().filter(|(message, gone)| **gone && !pins.of(&message.digest).is_empty());
    let digests: BTreeSet<_> = gone.map(|(message, _)| message.digest).collect();
    if digests.is_empty() {
        return None;
    }
    let mut left = pins.clone();
    let kept = all()
        .filter(|(_, gone)| !**gone)
        .map(|(message, _)| message);
    pin(&mut left, digests, kept);
    Some(left)
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
