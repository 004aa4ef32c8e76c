//! What an update does to the spool's bytes.
//!
//! Segments move whole and keep their order. Bytes that belong to no message stay: the tail, and
//! the empty lines before the first message as long as that message is kept. Only the spool's last
//! line can lack its line end, and it stays the last one. So the spool reads as before, without the
//! deleted messages.

use crate::message::Maildrop;
use std::ops::Range;

/// Which bytes move where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the first deleted segment begins. Everything before it stays untouched.
    pub first_change: u64,
    /// The kept ranges behind it, in order. They move down to `first_change`. Empty: the spool is
    /// only cut.
    pub kept: Vec<Range<u64>>,
    /// The spool's length after the update.
    pub final_length: u64,
}

impl Plan {
    /// The plan for deleting the messages that `deleted` marks. `None`: there is nothing to delete.
    /// Hidden messages are never deleted.
    pub fn new(maildrop: &Maildrop, deleted: &[bool]) -> Option<Self> {
        let gone = |index| is_gone(maildrop, deleted, index);
        let first = (0..maildrop.messages.len()).find(|index| gone(*index))?;
        // If the first message is deleted, the file must still begin with a From_ line. So the
        // bytes before that message go too.
        let first_change = match first {
            0 => 0,
            _ => maildrop.messages[first].from_line,
        };
        let mut kept: Vec<Range<u64>> = Vec::new();
        let segments = (first..maildrop.messages.len())
            .filter(|index| !gone(*index))
            .map(|index| maildrop.messages[index].from_line..maildrop.segment_end(index));
        let tail = maildrop.length - maildrop.tail..maildrop.length;
        for segment in segments.chain((maildrop.tail > 0).then_some(tail)) {
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

/// The maildrop without the messages that `deleted` marks, as it is after the update.
pub fn left(maildrop: &Maildrop, deleted: &[bool]) -> Maildrop {
    let mut left = Maildrop::default();
    left.messages.reserve_exact(maildrop.messages.len());
    let mut removed = 0;
    for (index, message) in maildrop.messages.iter().enumerate() {
        if is_gone(maildrop, deleted, index) {
            // As in the plan, the bytes before the first message go with it.
            let start = if index == 0 { 0 } else { message.from_line };
            removed += maildrop.segment_end(index) - start;
        } else {
            left.messages.push(message.moved_down(removed));
        }
    }
    left.length = maildrop.length - removed;
    left.tail = maildrop.tail;
    left.claims = maildrop.claims;
    if left.claims.ahead < u64::MAX {
        // The message with this claim may move by less. Then `ahead` is too small, which costs at
        // most one scan more.
        left.claims.ahead = left.claims.ahead.saturating_sub(removed);
    }
    left
}
