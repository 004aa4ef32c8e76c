//! The steps of an update: kept messages move down in pieces, then the spool is cut (promise P3).
//!
//! Before a byte of the spool changes, the journal on disk says which bytes are kept and where they
//! lie. A piece may overwrite bytes of its own that have not moved yet. Then the journal holds a
//! copy of the piece first. So a process that finds a journal can finish the update from the step
//! that the journal names. Every step can be repeated.

use crate::error::UpdateError;
use crate::journal::Journal;
use crate::locks::LockedSpool;
use crate::state::State;
use popward_mbox::from_line::{LINE_MAX, mail_begins};
use popward_mbox::index::Identity;
use popward_mbox::journal::{Head, Kept, LOOK, Stage, mark};
use popward_mbox::plan::Plan;
use popward_mbox::source::Source;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// How much an update does at once. Tests use small sizes, so that a small spool takes many steps.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// How many bytes of the spool are in memory at once.
    pub(crate) chunk: usize,
    /// The most bytes of a piece, and so of a slot. Each piece is on disk before the next one
    /// begins.
    pub(crate) piece: u64,
    /// A distance in bytes. A piece that moves down at least this far is not copied into the
    /// journal first, because it overwrites only bytes that have moved already. Below this distance
    /// the copy is cheaper, because pieces without a copy are no longer than the distance, and the
    /// update waits for the disk after each piece.
    pub(crate) gap: u64,
    /// Bytes at each end of the part that the cut removes. The journal has a mark of them.
    pub(crate) cut_look: u64,
    /// A cut at a multiple of this many bytes is one change to the disk, because no file system has
    /// larger blocks. Any other cut is two changes: the rest of the block is filled with zeros,
    /// then the length is set. A power cut can leave only the first.
    pub(crate) block_max: u64,
}

impl Sizes {
    /// The sizes that popward uses.
    pub const SHIPPED: Self = Self {
        chunk: 1 << 20,
        piece: 32 << 20,
        gap: 4 << 20,
        cut_look: 64 << 10,
        block_max: 64 << 10,
    };
}

/// The most pieces of an update. Without room for slots, a short deleted message before much mail
/// would need more pieces. They would take hours, and the spool would be locked all that time.
const PIECES_MAX: u64 = 50_000;

/// The smallest block of a file system, in bytes.
pub(crate) const BLOCK_MIN: u64 = 512;

/// Checks that no program has written the spool since it was `seen`.
pub(crate) fn still(spool: &LockedSpool, seen: &Identity) -> Result<(), UpdateError> {
    let same = spool.identity()? == *seen;
    let changed = UpdateError::Changed("the spool is not as it was");
    same.then_some(()).ok_or(changed)
}

/// Makes the journal of an update, with its first step. When this returns, the journal stands.
pub(crate) fn begin(
    spool: &mut LockedSpool,
    state: &State,
    plan: &Plan,
    seen: Identity,
    sizes: Sizes,
    begins: impl FnOnce(),
) -> Result<Steps, UpdateError> {
    still(spool, &seen)?;
    let kept = Kept::new(plan, |range| look_at(spool, range))?;
    let moved = plan.final_length - plan.first_change;
    // If everything up to the spool's end is deleted, nothing moves and the gap is 0. The journal
    // is for the cut alone.
    let gap = plan
        .kept
        .first()
        .map_or(0, |kept| kept.start - plan.first_change);
    let enough = |slot: u64| moved / slot.max(gap).max(1) <= PIECES_MAX;
    let ranges = plan.kept.len() as u64;
    // Even if nothing moves, the journal needs a slot: mail may arrive before the cut, and must
    // move down. Without a slot, each step would move only as many bytes as were deleted.
    let (journal, slot) = Journal::create(state, ranges, moved.clamp(1, sizes.piece), enough)?;
    let encoded = kept.encode();
    let head = Head {
        inode: seen.inode,
        planned: seen.length,
        length: seen.length,
        first_change: plan.first_change,
        ranges,
        slot,
        at: plan.first_change,
        end_mark: look_before(spool, seen.length)?,
        ranges_hash: *blake3::hash(&encoded).as_bytes(),
        ..Head::default()
    };
    let mut steps = Steps::new(journal, head, kept, sizes);
    match steps.first(spool, &seen, &encoded, begins) {
        Ok(()) => Ok(steps),
        Err(error) if Journal::open(state)?.is_some() => {
            Err(UpdateError::Unfinished(Box::new(error)))
        }
        Err(error) => {
            // A power cut must not bring back the name `journal` for a file that was shortened. So
            // the names are on disk first.
            if state.sync().is_ok() {
                steps.journal.give_up();
            }
            Err(error)
        }
    }
}

/// An update that is under way.
pub(crate) struct Steps {
    pub(crate) journal: Journal,
    /// The step to do next. Every kept byte that belongs before `head.at` is in its place.
    pub(crate) head: Head,
    pub(crate) kept: Kept,
    chunk: Vec<u8>,
    sizes: Sizes,
}

impl Steps {
    /// Continues the update of a journal with this head and these kept ranges.
    pub(crate) fn new(journal: Journal, head: Head, kept: Kept, sizes: Sizes) -> Self {
        Self {
            chunk: vec![0; sizes.chunk],
            journal,
            head,
            kept,
            sizes,
        }
    }

    /// Prepares the first step and makes the journal stand. From then on the update will be
    /// finished, even after a crash.
    fn first(
        &mut self,
        spool: &mut LockedSpool,
        seen: &Identity,
        ranges: &[u8],
        begins: impl FnOnce(),
    ) -> Result<(), UpdateError> {
        // A delivery agent may not have synced its mail. The journal must not name bytes that a
        // power cut could still take away.
        spool.sync()?;
        self.prepare(spool)?;
        self.journal.write_first(&self.head, ranges)?;
        spool.prove_place()?;
        // The slow part is done. This check shows whether a program without locks has written the
        // spool meanwhile.
        still(spool, seen)?;
        begins();
        Ok(self.journal.stand()?)
    }

    /// Does the step of `head` and all later steps.
    pub(crate) fn run(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        while !self.step(spool)? {}
        Ok(())
    }

    /// Does the step of `head`, then writes the next step into the journal. Returns whether this
    /// step was the last one.
    pub(crate) fn step(&mut self, spool: &mut LockedSpool) -> Result<bool, UpdateError> {
        match self.head.stage {
            Stage::Direct => self.copy_from_spool(spool)?,
            Stage::Slot => self.copy_from_slot(spool)?,
            Stage::Cut => {
                spool.prove()?;
                if spool.identity()?.length == self.head.length {
                    spool.truncate(self.kept.final_length())?;
                    return Ok(true);
                }
            }
        }
        self.head.at += self.head.piece;
        // A program without locks may have appended mail during the update, or between a crash and
        // the recovery. That mail is kept too.
        let length = spool.identity()?.length;
        spool.sync()?;
        if length < self.head.length {
            return Err(UpdateError::Changed("the spool was cut"));
        }
        if length > self.head.length {
            if self.kept.final_length() == 0 {
                // maildrop puts an empty line between two messages. All messages before it are
                // gone, so this line is skipped: the spool must not begin with it.
                let begin = read_range(spool, self.head.length..length.min(self.head.length + 2))?;
                self.head.length += match begin[..] {
                    [b'\n', ..] => 1,
                    [b'\r', b'\n'] => 2,
                    _ => 0,
                };
                self.head.planned = self.head.length;
                self.head.end_mark = look_before(spool, self.head.planned)?;
            }
            self.kept.add(self.head.length..length);
            self.head.length = length;
        }
        self.prepare(spool)?;
        self.journal.write_head(&self.head)?;
        Ok(false)
    }

    /// Makes `head` the next step: another piece, in a slot if it needs one, or the cut.
    pub(crate) fn prepare(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        self.head.sequence += 1;
        let left = self.kept.final_length() - self.head.at;
        if left == 0 {
            self.head.stage = Stage::Cut;
            self.head.piece = 0;
            self.head.check = self.cut_check(spool)?;
            return Ok(());
        }
        let source = self.kept.sources(self.head.at, 1);
        let gap = source.first().map_or(0, |first| first.start) - self.head.at;
        if gap >= left.min(self.sizes.gap) || self.head.slot == 0 {
            self.head.stage = Stage::Direct;
            self.head.piece = left.min(gap).min(self.sizes.piece);
            return Ok(());
        }
        self.head.stage = Stage::Slot;
        self.head.piece = left.min(self.head.slot);
        let sources = self.kept.sources(self.head.at, self.head.piece);
        let mut check = crc32fast::Hasher::new();
        let (journal, mut at) = (&mut self.journal, self.head.slot_at());
        each_chunk(spool, &sources, &mut self.chunk, |_, bytes| {
            check.update(bytes);
            journal.file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        self.head.check = check.finalize().into();
        // A head must not name a slot that is not on disk. The first head and its slot are synced
        // together, before the journal stands.
        if self.head.sequence > 1 {
            self.journal.file.sync_data()?;
        }
        Ok(())
    }

    pub(crate) fn copy_from_spool(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        let sources = self.kept.sources(self.head.at, self.head.piece);
        let mut at = self.head.at;
        each_chunk(spool, &sources, &mut self.chunk, |spool, bytes| {
            spool.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        })
    }

    pub(crate) fn copy_from_slot(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        let mut at = self.head.at;
        self.each_of_slot(|bytes| {
            spool.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        })
    }

    pub(crate) fn each_of_slot(
        &mut self,
        mut act: impl FnMut(&[u8]) -> Result<(), UpdateError>,
    ) -> Result<(), UpdateError> {
        let slot = self.head.slot_at();
        let mut done = 0;
        while done < self.head.piece {
            let most = within(&(done..self.head.piece), self.sizes.chunk);
            let bytes = &mut self.chunk[..most];
            self.journal.file.read_exact_at(bytes, slot + done)?;
            act(bytes)?;
            done += most as u64;
        }
        Ok(())
    }

    /// The mark of the first and the last bytes that the cut takes away. While the spool still has
    /// these bytes, it has not been cut.
    pub(crate) fn cut_check(&self, spool: &mut LockedSpool) -> Result<u64, UpdateError> {
        let (start, end) = (self.kept.final_length(), self.head.length);
        let first = start..end.min(start + self.sizes.cut_look);
        let last = end.saturating_sub(self.sizes.cut_look).max(first.end)..end;
        let mut bytes = read_range(spool, first)?;
        bytes.extend(read_range(spool, last)?);
        Ok(mark(&bytes))
    }
}

/// The mark of the first bytes of a range, as they are in the spool now.
pub(crate) fn look_at(spool: &mut LockedSpool, range: &Range<u64>) -> Result<u64, UpdateError> {
    let end = range.end.min(range.start + LOOK as u64);
    Ok(mark(&read_range(spool, range.start..end)?))
}

/// The mark of the last [`LOOK`] bytes before `end`, or of all bytes if `end` is less.
pub(crate) fn look_before(spool: &mut LockedSpool, end: u64) -> Result<u64, UpdateError> {
    let start = end.saturating_sub(LOOK as u64);
    Ok(mark(&read_range(spool, start..end)?))
}

/// The range's length, or `most` if that is less.
pub(crate) fn within(range: &Range<u64>, most: usize) -> usize {
    usize::try_from(range.end - range.start)
        .unwrap_or(most)
        .min(most)
}

/// Reads a small range of the spool. The result is shorter if the spool ends within the range.
pub(crate) fn read_range(
    spool: &mut LockedSpool,
    range: Range<u64>,
) -> Result<Vec<u8>, UpdateError> {
    let mut bytes = vec![0; within(&range, usize::MAX)];
    let count = spool.read_at(range.start, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Whether the bytes at `offset` look like mail that a program appended.
pub(crate) fn mail_begins_at(spool: &mut LockedSpool, offset: u64) -> Result<bool, UpdateError> {
    let look = offset..offset + LINE_MAX as u64 + 4;
    Ok(mail_begins(&read_range(spool, look)?))
}

/// Reads the spool's bytes in `sources`, in order, and calls `act` with them in chunks.
fn each_chunk(
    spool: &mut LockedSpool,
    sources: &[Range<u64>],
    chunk: &mut [u8],
    mut act: impl FnMut(&mut LockedSpool, &[u8]) -> Result<(), UpdateError>,
) -> Result<(), UpdateError> {
    let mut filled = 0;
    for source in sources {
        let mut source = source.clone();
        while !source.is_empty() {
            let most = within(&source, chunk.len() - filled);
            let into = &mut chunk[filled..filled + most];
            if spool.read_at(source.start, into)? < most {
                return Err(UpdateError::Changed("the spool is shorter than it was"));
            }
            source.start += most as u64;
            filled += most;
            if filled == chunk.len() {
                act(spool, chunk)?;
                filled = 0;
            }
        }
    }
    act(spool, &chunk[..filled])
}

#[cfg(test)]
mod tests;
