//! What an update does to the spool's bytes.
//!
//! Segments move whole and keep their order. A segment without a separator behind it can only be the last of the spool,
//! and what is last stays last, so what is left is a spool that reads as before, less the deleted messages.

use crate::message::Maildrop;
use std::ops::Range;

/// Which bytes move where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the first deleted segment begins: everything before it stays untouched.
    pub first_change: u64,
    /// What is kept behind it, in order, to be moved down to `first_change`. Empty: the spool is only truncated.
    pub kept: Vec<Range<u64>>,
    /// How long the spool is then.
    pub final_length: u64,
}

impl Plan {
    /// The plan for deleting the messages that `deleted` marks. `None` where there is nothing to delete. Hidden messages
    /// are never deleted.
    pub fn new(maildrop: &Maildrop, deleted: &[bool]) -> Option<Self> {
        let gone = |index| is_gone(maildrop, deleted, index);
        let first = (0..maildrop.messages.len()).find(|index| gone(*index))?;
        let first_change = maildrop.messages[first].from_line;
        let mut kept: Vec<Range<u64>> = Vec::new();
        for index in (first..maildrop.messages.len()).filter(|index| !gone(*index)) {
            let segment = maildrop.messages[index].from_line..maildrop.segment_end(index);
            match kept.last_mut() {
                Some(last) if last.end == segment.start => last.end = segment.end,
                _ => kept.push(segment),
            }
        }
        let moved: u64 = kept.iter().map(|range| range.end - range.start).sum();
        Some(Self {
            first_change,
            kept,
            final_length: first_change + moved,
        })
    }
}

/// Whether `deleted` marks this message and it may be deleted.
fn is_gone(maildrop: &Maildrop, deleted: &[bool], index: usize) -> bool {
    deleted.get(index) == Some(&true) && !maildrop.is_hidden(index)
}

/// What is left of `maildrop` without the messages that `deleted` marks.
pub fn left(maildrop: &Maildrop, deleted: &[bool]) -> Maildrop {
    let mut left = Maildrop::default();
    left.messages.reserve_exact(maildrop.messages.len());
    let mut removed = 0;
    for (index, message) in maildrop.messages.iter().enumerate() {
        if is_gone(maildrop, deleted, index) {
            removed += maildrop.segment_end(index) - message.from_line;
        } else {
            left.messages.push(message.moved_down(removed));
        }
    }
    left.length = maildrop.length - removed;
    left
}
