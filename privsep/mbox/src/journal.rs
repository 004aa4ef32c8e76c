//! The journal of an update, as bytes: which bytes are kept and where, and the piece that is on its
//! way.
//!
//! A journal is two blocks of heads, the kept ranges, and two slots for pieces. Head `n` is written
//! into block `n mod 2` and belongs to slot `n mod 2`. So the head before it, and that head's slot,
//! stay whole while it is written. A head stands twice in its block. A torn write leaves one of the
//! two whole. If a block has no whole head, the journal is damaged.

use crate::plan::Plan;
use std::ops::Range;

/// Bytes of a block, which a disk writes at once.
pub const BLOCK: usize = 4096;

/// Where the kept ranges begin.
pub const HEADS: usize = 2 * BLOCK;

/// Names the format and its version.
const MAGIC: &[u8; 8] = b"popwardK";
/// Bytes of a head before its own hash.
const HEAD: usize = 8 + 11 * 8 + 32;
/// Where the second copy of a head stands in its block.
const SECOND: usize = BLOCK / 2;
/// Bytes of a kept range.
const RANGE: usize = 24;

/// How many bytes of a kept range's start are compared with the journal's mark of them.
pub const LOOK: usize = 256;

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Move a piece from its slot to its place.
    Slot,
    /// Move a piece from where it lies to its place. It overwrites no byte that is still needed.
    #[default]
    Direct,
    /// Cut the spool. Everything is in its place.
    Cut,
}

/// One step of an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Counts the steps, from 1.
    pub sequence: u64,
    /// The thing to do.
    pub stage: Stage,
    /// The spool's inode.
    pub inode: u64,
    /// The spool's length when the update was planned. If no message is kept and mail has arrived
    /// since, an empty line before that mail counts too, because it is not kept.
    pub planned: u64,
    /// The spool's length that this step knows of. Bytes behind `planned` arrived since and are
    /// kept.
    pub length: u64,
    /// Where the first deleted message began.
    pub first_change: u64,
    /// How many kept ranges there are.
    pub ranges: u64,
    /// Bytes of a slot.
    pub slot: u64,
    /// Where the piece goes. Every kept byte that belongs before is in its place.
    pub at: u64,
    /// Bytes of the piece.
    pub piece: u64,
    /// For a slot: a checksum of the piece in it. The slot is on disk before its head, so this
    /// finds a disk that lost or changed it. For a cut: a mark of bytes that the cut takes away.
    pub check: u64,
    /// The mark of the last [`LOOK`] bytes before `planned`, or of all bytes if there are fewer.
    pub end_mark: u64,
    /// The BLAKE3 hash of the encoded kept ranges.
    pub ranges_hash: [u8; 32],
}

impl Head {
    /// The numbers of a head in their order on disk, behind the one with the sequence and the stage.
    fn numbers(&mut self) -> [&mut u64; 10] {
        [
            &mut self.inode,
            &mut self.planned,
            &mut self.length,
            &mut self.first_change,
            &mut self.ranges,
            &mut self.slot,
            &mut self.at,
            &mut self.piece,
            &mut self.check,
            &mut self.end_mark,
        ]
    }

    /// Encodes the block of this head.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        let stage = match self.stage {
            Stage::Slot => 1 << 63,
            Stage::Direct => 0,
            Stage::Cut => 1 << 62,
        };
        head.extend_from_slice(&(self.sequence | stage).to_le_bytes());
        for number in self.clone().numbers() {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&self.ranges_hash);
        head.extend_from_slice(blake3::hash(&head).as_bytes());
        head.resize(SECOND, 0);
        head.repeat(2)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, rest) = bytes.split_at_checked(HEAD)?;
        if !bytes.starts_with(MAGIC) || !rest.starts_with(blake3::hash(bytes).as_bytes()) {
            return None;
        }
        let marked = number(bytes, 1)?;
        let mut head = Self {
            sequence: marked & (u64::MAX >> 2),
            stage: match marked >> 62 {
                0 => Stage::Direct,
                1 => Stage::Cut,
                2 => Stage::Slot,
                _ => return None,
            },
            ranges_hash: *bytes.last_chunk()?,
            ..Self::default()
        };
        for (place, value) in (2..).zip(head.numbers()) {
            *value = number(bytes, place)?;
        }
        let possible = head.first_change <= head.planned
            && head.planned <= head.length
            && head.length <= i64::MAX.unsigned_abs()
            && u32::try_from(head.slot).is_ok()
            && (head.slot == 0 || head.slot >= 512)
            && (head.piece == 0) == (head.stage == Stage::Cut)
            && head.ranges <= crate::scan::MESSAGES_MAX as u64
            && (head.stage != Stage::Slot || head.piece <= head.slot);
        possible.then_some(head)
    }

    /// The newest head of a journal's two blocks. `None`: a block is damaged.
    pub fn newest(blocks: &[u8; HEADS]) -> Option<Self> {
        let block = |which: usize| {
            let block = blocks.get(which * BLOCK..(which + 1) * BLOCK)?;
            let heads = [Self::decode(block), Self::decode(&block[SECOND..])];
            heads.into_iter().flatten().max_by_key(|head| head.sequence)
        };
        let heads = [block(0)?, block(1)?];
        heads.into_iter().max_by_key(|head| head.sequence)
    }

    /// Where this step's slot begins in the journal.
    pub fn slot_at(&self) -> u64 {
        slots_at(self.ranges) + self.slot * (self.sequence % 2)
    }

    /// Where this head's block begins in the journal.
    pub fn block_at(&self) -> u64 {
        BLOCK as u64 * (self.sequence % 2)
    }
}

/// Where the first slot begins in a journal with `ranges` kept ranges.
pub fn slots_at(ranges: u64) -> u64 {
    (HEADS as u64 + Kept::encoded_length(ranges)).next_multiple_of(BLOCK as u64)
}

/// The number at `place`, counted in numbers of eight bytes.
pub(crate) fn number(bytes: &[u8], place: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(place * 8..)?.first_chunk()?))
}

/// The mark of a range: a hash of its first bytes. `start` is the first [`LOOK`] bytes, or all
/// bytes if there are fewer.
pub fn mark(start: &[u8]) -> u64 {
    number(blake3::hash(start).as_bytes(), 0).unwrap_or(0)
}

/// The kept bytes behind the first deleted message, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    first_change: u64,
    ranges: Vec<KeptRange>,
}

/// Kept bytes that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRange {
    /// Where they lie.
    pub source: Range<u64>,
    /// Where their first byte goes.
    pub target: u64,
    /// The mark of their start.
    pub mark: u64,
}

impl Kept {
    /// The ranges that `plan` keeps. `mark` returns the mark of a range.
    pub fn new<E>(
        plan: &Plan,
        mut mark: impl FnMut(&Range<u64>) -> Result<u64, E>,
    ) -> Result<Self, E> {
        let mut kept = Self {
            first_change: plan.first_change,
            ranges: Vec::with_capacity(plan.kept.len()),
        };
        for range in &plan.kept {
            kept.push(range.clone(), mark(range)?);
        }
        Ok(kept)
    }

    fn push(&mut self, source: Range<u64>, mark: u64) {
        let target = self.final_length();
        self.ranges.push(KeptRange {
            source,
            target,
            mark,
        });
    }

    /// Encodes the ranges as a journal has them.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = |kept: &KeptRange| [kept.source.start, kept.source.end, kept.mark];
        let numbers = self.ranges.iter().flat_map(numbers);
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    /// Decodes the ranges of a journal with this head. `None`: they do not fit the head, or cannot
    /// exist.
    pub fn decode(head: &Head, bytes: &[u8]) -> Option<Self> {
        if *blake3::hash(bytes).as_bytes() != head.ranges_hash {
            return None;
        }
        let first_change = head.first_change;
        let mut kept = Self {
            first_change,
            ranges: Vec::with_capacity(bytes.len() / RANGE),
        };
        let mut end = first_change;
        for bytes in bytes.chunks_exact(RANGE) {
            let source = number(bytes, 0)?..number(bytes, 1)?;
            // A first range that does not move would make an update that never ends.
            let moves = source.start > first_change;
            if !(moves && end <= source.start && source.start < source.end) {
                return None;
            }
            end = source.end;
            kept.push(source, number(bytes, 2)?);
        }
        if end > head.planned || kept.ranges.len() as u64 != head.ranges {
            return None;
        }
        kept.add(head.planned..head.length);
        let within =
            first_change <= head.at && head.at.checked_add(head.piece)? <= kept.final_length();
        within.then_some(kept)
    }

    /// The length in bytes of `ranges` encoded ranges.
    pub fn encoded_length(ranges: u64) -> u64 {
        ranges * RANGE as u64
    }

    /// Adds bytes that arrived behind the spool's end. Their range has no mark, because the journal
    /// does not hold it.
    pub fn add(&mut self, range: Range<u64>) {
        match self.ranges.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.source.end == range.start => last.source.end = range.end,
            _ => self.push(range, 0),
        }
    }

    /// The spool's length once every byte is in its place.
    pub fn final_length(&self) -> u64 {
        let last = self.ranges.last();
        last.map_or(self.first_change, |last| {
            last.target + (last.source.end - last.source.start)
        })
    }

    /// Where the `count` kept bytes lie that go to `target`. At the end there may be fewer.
    pub fn sources(&self, target: u64, count: u64) -> Vec<Range<u64>> {
        let end = target.saturating_add(count);
        let before = self.ranges.partition_point(|kept| kept.target <= target);
        let ranges = self.ranges.iter().skip(before.saturating_sub(1));
        let sources = ranges.take_while(|kept| kept.target < end).map(|kept| {
            let lies_at = |target: u64| {
                let skipped = target.saturating_sub(kept.target);
                kept.source.start.saturating_add(skipped)
            };
            lies_at(target)..kept.source.end.min(lies_at(end))
        });
        sources.filter(|source| !source.is_empty()).collect()
    }

    /// The ranges of which no byte goes before `target`.
    pub fn untouched(&self, target: u64) -> impl Iterator<Item = &KeptRange> {
        self.ranges.iter().filter(move |kept| kept.target >= target)
    }
}

#[cfg(test)]
mod tests;
