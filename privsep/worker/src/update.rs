//! The update, and its completion after a crash (promise P3).
//!
//! What is kept behind the first deleted message moves down in pieces. Before a byte of the spool changes, the journal
//! that tells what is kept and where is on disk; and before a piece overwrites bytes that are still to be moved, it is in
//! the journal itself. So whoever finds a journal can finish the update from where it stopped. Any doubt touches nothing
//! and keeps the journal.

use crate::journal::Journal;
use crate::locks::{LockedSpool, Lost};
use crate::state::State;
use popward_mbox::from_line::{LINE_MAX, mail_begins};
use popward_mbox::index::Identity;
use popward_mbox::journal::{Head, Kept, LOOK, Place, Stage, mark};
use popward_mbox::plan::Plan;
use std::io;
use std::ops::Range;

/// Bytes of the spool in memory at once.
const CHUNK: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The largest piece, and so the largest slot: what is on disk before the next piece begins.
const PIECE: u64 = if cfg!(test) { 4 << 10 } else { 32 << 20 };

/// From this gap on a piece is moved without a copy in the journal, which costs less than one more wait for the disk.
const GAP: u64 = if cfg!(test) { 2 << 10 } else { 4 << 20 };

/// Most pieces of an update: where a disk has no room for slots and a short message was deleted before a lot of mail, it
/// would hold the locks for hours.
const PIECES_MAX: u64 = 50_000;

/// The first and the last bytes that a cut takes away are held against the journal: so many of each.
const CUT_LOOK: u64 = if cfg!(test) { 100 } else { 64 << 10 };

/// The largest block of a file system, in bytes. A cut within a block is two changes to the disk: the rest of the block is
/// filled with zeros, and the length is set; and after a power cut only the first may be there.
const BLOCK_MAX: u64 = if cfg!(test) { 512 } else { 64 << 10 };

/// The smallest block.
const BLOCK_MIN: u64 = 512;

/// Why an update or a recovery did not happen.
#[derive(Debug)]
pub enum UpdateError {
    /// The spool is not what the plan or the journal was made for. Nothing was changed.
    Changed(&'static str),
    /// The dotlock is not this session's any more, or the spool was replaced. Nothing was changed.
    LockLost,
    /// There is no state directory to keep a journal in. Nothing was changed.
    NoState,
    /// Reading or writing failed. Nothing was changed.
    System(io::Error),
    /// It failed when the journal stood already: it is still to be finished.
    Unfinished(Box<UpdateError>),
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed(why) => out.write_str(why),
            Self::LockLost => Lost.fmt(out),
            Self::Unfinished(error) => write!(out, "{error}; the journal stands"),
            Self::NoState => out.write_str("no state directory for the journal"),
            Self::System(error) => error.fmt(out),
        }
    }
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> Self {
        if Lost::is(&error) {
            return Self::LockLost;
        }
        Self::System(error)
    }
}

impl From<Lost> for UpdateError {
    fn from(_: Lost) -> Self {
        Self::LockLost
    }
}

/// Does what `plan` says to a spool that was `seen`: nobody may have written it since. `begins` is called before anything is
/// changed that a crash would leave for others to finish. The journal still stands then, so that whoever dies before it is
/// told is known to have done it. `None`: the disk had no room for a journal, and all was cut at once.
pub fn update(
    spool: &mut LockedSpool,
    state: Option<&State>,
    plan: &Plan,
    seen: Identity,
    begins: impl FnOnce(),
) -> Result<Option<Journal>, UpdateError> {
    let state = state.ok_or(UpdateError::NoState)?;
    let one_change = plan.kept.is_empty() && plan.final_length % BLOCK_MAX == 0;
    let mut work = match begin(spool, state, plan, seen, begins) {
        // Deleting all is what makes room, and it is one change to the disk.
        Err(UpdateError::System(error)) if one_change && is_for_room(&error) => {
            spool.prove_place()?;
            still(spool, &seen)?;
            spool.truncate(plan.final_length)?;
            return Ok(None);
        }
        begun => begun?,
    };
    let unfinished = |error| UpdateError::Unfinished(Box::new(error));
    work.run(spool).map_err(unfinished)?;
    Ok(Some(work.journal))
}

/// Makes sure that nobody has written the spool since it was `seen`.
fn still(spool: &LockedSpool, seen: &Identity) -> Result<(), UpdateError> {
    if spool.identity()? == *seen {
        Ok(())
    } else {
        Err(UpdateError::Changed("the spool is not as it was"))
    }
}

/// Whether the disk, or what its user may have of it, is full.
fn is_for_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Makes the journal of an update with its first piece.
fn begin(
    spool: &mut LockedSpool,
    state: &State,
    plan: &Plan,
    seen: Identity,
    begins: impl FnOnce(),
) -> Result<Work, UpdateError> {
    still(spool, &seen)?;
    let kept = Kept::new(plan, |range| look_at(spool, range))?;
    let moved = plan.final_length - plan.first_change;
    // Nothing is moved where all up to the end is deleted: the journal is for the cut alone.
    let gap = plan
        .kept
        .first()
        .map_or(0, |kept| kept.start - plan.first_change);
    let enough = |slot: u64| moved / slot.max(gap).max(1) <= PIECES_MAX;
    let ranges = plan.kept.len() as u64;
    let journal = Journal::create(state, ranges, moved.min(PIECE), enough)?;
    let encoded = kept.encode();
    let head = Head {
        sequence: 0,
        stage: Stage::Direct,
        inode: seen.inode,
        planned: seen.length,
        length: seen.length,
        first_change: plan.first_change,
        ranges,
        slot: journal.slot,
        at: plan.first_change,
        piece: 0,
        check: 0,
        end_mark: look_before(spool, seen.length)?,
        ranges_hash: *blake3::hash(&encoded).as_bytes(),
    };
    let mut work = Work::new(journal, head, kept);
    match work.first(spool, &seen, &encoded, begins) {
        Ok(()) => Ok(work),
        Err(error) if Journal::open(state)?.is_some() => {
            Err(UpdateError::Unfinished(Box::new(error)))
        }
        Err(error) => {
            // Only when it is sure that nobody finds it standing.
            if state.sync().is_ok() {
                work.journal.give_up();
            }
            Err(error)
        }
    }
}

/// Finishes the update of a journal that is found. Returns whether there was one. `begins` as for [`update`].
pub fn recover(
    spool: &mut LockedSpool,
    state: &State,
    begins: impl FnOnce(),
) -> Result<bool, UpdateError> {
    let Some(mut journal) = Journal::open(state)? else {
        state.forget()?;
        return Ok(false);
    };
    // Who died may not have had its name on disk, nor what it wrote last; and the spool is written next.
    state.sync()?;
    let damaged = || UpdateError::Changed("the journal is damaged");
    let (head, kept) = journal.read()?.ok_or_else(damaged)?;
    let identity = spool.identity()?;
    if identity.inode != head.inode {
        return Err(UpdateError::Changed("the spool is another file"));
    }
    let final_length = kept.final_length();
    let mut work = Work::new(journal, head, kept);
    let whole = identity.length >= work.head.length;
    let cutting = work.head.stage == Stage::Cut;
    if cutting && !(whole && work.is_not_cut(spool)?) {
        // It was cut. What lies behind came since.
        let fits = identity.length >= final_length
            && (identity.length == final_length || mail_begins_at(spool, final_length)?);
        if !fits {
            return Err(UpdateError::Changed("the spool's end is not as it was"));
        }
        spool.sync()?;
    } else {
        if !whole {
            return Err(UpdateError::Changed("the spool is shorter than it was"));
        }
        if work.head.stage == Stage::Slot && !work.slot_is_whole()? {
            return Err(damaged());
        }
        work.prove_sources(spool)?;
        begins();
        // It is read here, but whoever died may not have had it on disk.
        work.journal.write_head(&work.head)?;
        work.run(spool)?;
    }
    state.finish()?;
    work.journal.end();
    Ok(true)
}

/// The mark of a range's start, as it is in the spool.
fn look_at(spool: &mut LockedSpool, range: &Range<u64>) -> Result<u64, UpdateError> {
    let mut look = [0; LOOK];
    let count = spool.read_at(range.start, &mut look[..within(range, LOOK)])?;
    Ok(mark(&look[..count]))
}

/// The mark of the last bytes before `end`.
fn look_before(spool: &mut LockedSpool, end: u64) -> Result<u64, UpdateError> {
    let start = end.saturating_sub(LOOK as u64);
    Ok(mark(&read_range(spool, start..end)?))
}

/// The range's length, or `most` if that is less.
fn within(range: &Range<u64>, most: usize) -> usize {
    usize::try_from(range.end - range.start)
        .unwrap_or(most)
        .min(most)
}

/// An update that is being done. All before `head.at` is in its place; `place` is where the kept bytes behind the piece
/// of `head` lie.
struct Work {
    journal: Journal,
    head: Head,
    kept: Kept,
    place: Place,
    chunk: Vec<u8>,
}

impl Work {
    fn new(journal: Journal, head: Head, kept: Kept) -> Self {
        Self {
            place: kept.place(head.at + head.piece),
            chunk: vec![0; CHUNK],
            journal,
            head,
            kept,
        }
    }

    /// The first piece, and the journal with it: after this the update will be done, whatever happens.
    fn first(
        &mut self,
        spool: &mut LockedSpool,
        seen: &Identity,
        ranges: &[u8],
        begins: impl FnOnce(),
    ) -> Result<(), UpdateError> {
        // What a delivery agent left in memory alone must not be missing where the journal says it is.
        spool.sync()?;
        self.prepare(spool)?;
        self.journal.write_first(&self.head, ranges)?;
        spool.prove_place()?;
        // All that took its time is done: nobody who asks for no lock has come in between.
        still(spool, seen)?;
        begins();
        Ok(self.journal.stand()?)
    }

    /// Does the step of `head` and all that follow it.
    fn run(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        while !self.step(spool)? {}
        Ok(())
    }

    /// Does the step of `head`, and has the next one in the journal. Returns whether it was the last.
    fn step(&mut self, spool: &mut LockedSpool) -> Result<bool, UpdateError> {
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
        // What came without a lock while this was going on, or before anybody came to finish it, is kept too.
        let length = spool.identity()?.length;
        spool.sync()?;
        if length < self.head.length {
            return Err(UpdateError::Changed("the spool was cut"));
        }
        if length > self.head.length {
            if self.kept.final_length() == 0 {
                // Of the empty line that maildrop puts between a message and the next one, the spool must not come to begin.
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
            self.place = self.kept.place(self.head.at);
        }
        self.prepare(spool)?;
        self.journal.write_head(&self.head)?;
        Ok(false)
    }

    /// Makes `head` the next step: another piece, in its slot if it needs one, or the cut.
    fn prepare(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        self.head.sequence += 1;
        let left = self.kept.final_length() - self.head.at;
        if left == 0 {
            self.head.stage = Stage::Cut;
            self.head.piece = 0;
            self.head.check = self.cut_check(spool)?;
            return Ok(());
        }
        let source = self.kept.take(&mut self.place.clone(), 1);
        let gap = source.first().map_or(0, |first| first.start) - self.head.at;
        if gap >= left.min(GAP) || self.head.slot == 0 {
            self.head.stage = Stage::Direct;
            self.head.piece = left.min(gap).min(PIECE);
            self.kept.take(&mut self.place, self.head.piece);
            return Ok(());
        }
        self.head.stage = Stage::Slot;
        self.head.piece = left.min(self.head.slot);
        let sources = self.kept.take(&mut self.place, self.head.piece);
        let mut check = crc32fast::Hasher::new();
        let (journal, mut at) = (&mut self.journal, self.head.slot_at());
        each_chunk(spool, &sources, &mut self.chunk, |_, bytes| {
            check.update(bytes);
            journal.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        })?;
        self.head.check = check.finalize().into();
        // A head never speaks of a slot that is not on disk. The first one is synced with it, and stands only then.
        if self.head.sequence > 1 {
            self.journal.sync()?;
        }
        Ok(())
    }

    fn copy_from_spool(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        let mut place = self.kept.place(self.head.at);
        let sources = self.kept.take(&mut place, self.head.piece);
        let mut at = self.head.at;
        each_chunk(spool, &sources, &mut self.chunk, |spool, bytes| {
            spool.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        })
    }

    fn copy_from_slot(&mut self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        let mut at = self.head.at;
        self.each_of_slot(|bytes| {
            spool.write_at(at, bytes)?;
            at += bytes.len() as u64;
            Ok(())
        })
    }

    fn each_of_slot(
        &mut self,
        mut act: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), UpdateError> {
        let slot = self.head.slot_at();
        let mut done = 0;
        while done < self.head.piece {
            let most = within(&(done..self.head.piece), CHUNK);
            let bytes = &mut self.chunk[..most];
            self.journal.read_at(slot + done, bytes)?;
            act(bytes)?;
            done += most as u64;
        }
        Ok(())
    }

    fn slot_is_whole(&mut self) -> Result<bool, UpdateError> {
        let mut check = crc32fast::Hasher::new();
        self.each_of_slot(|bytes| {
            check.update(bytes);
            Ok(())
        })?;
        Ok(u64::from(check.finalize()) == self.head.check)
    }

    /// What is still to be moved must lie where it lay, or another program has rewritten the spool since.
    fn prove_sources(&self, spool: &mut LockedSpool) -> Result<(), UpdateError> {
        // The piece itself is in its slot and may be half in its place; or it overwrites nothing that it needs.
        let from = match self.head.stage {
            Stage::Direct => self.kept.place(self.head.at),
            Stage::Slot | Stage::Cut => self.place,
        };
        for (range, mark) in self.kept.untouched(from) {
            // The last one may have been extended by mail that came since.
            let range = range.start..range.end.min(self.head.planned);
            if !range.is_empty() && look_at(spool, &range)? != *mark {
                return Err(UpdateError::Changed("the spool was rewritten since"));
            }
        }
        // Nothing has been put there yet, nor cleared by a cut.
        let there = self.head.stage != Stage::Cut
            && self.head.at + self.head.piece + LOOK as u64 <= self.head.planned;
        if there && look_before(spool, self.head.planned)? != self.head.end_mark {
            return Err(UpdateError::Changed("the spool was rewritten since"));
        }
        let length = self.head.length;
        if spool.identity()?.length > length && !mail_begins_at(spool, length)? {
            return Err(UpdateError::Changed(
                "what was added to the spool is no mail",
            ));
        }
        Ok(())
    }

    /// A mark of the first and the last bytes that the cut takes away: as long as they are there, nothing was cut.
    fn cut_check(&self, spool: &mut LockedSpool) -> Result<u64, UpdateError> {
        let (start, end) = (self.kept.final_length(), self.head.length);
        let first = start..end.min(start + CUT_LOOK);
        let last = end.saturating_sub(CUT_LOOK).max(first.end)..end;
        let mut bytes = read_range(spool, first)?;
        bytes.extend(read_range(spool, last)?);
        Ok(mark(&bytes))
    }

    /// Whether the spool, which is as long as it was, is still to be cut: no mail has made it so long again. Of the block in
    /// which the cut is, the rest may have been cleared already.
    fn is_not_cut(&self, spool: &mut LockedSpool) -> Result<bool, UpdateError> {
        let start = self.kept.final_length();
        let block_end = (start + 1).next_multiple_of(BLOCK_MIN);
        let block_end = block_end.min(self.head.length);
        let zeros = read_range(spool, start..block_end)?;
        let cleared = !zeros.is_empty() && zeros.iter().all(|byte| *byte == 0);
        Ok(cleared || self.cut_check(spool)? == self.head.check)
    }
}

/// The bytes of a range that is not large.
fn read_range(spool: &mut LockedSpool, range: Range<u64>) -> Result<Vec<u8>, UpdateError> {
    let mut bytes = vec![0; within(&range, usize::MAX)];
    let count = spool.read_at(range.start, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Whether what lies there can have been delivered.
fn mail_begins_at(spool: &mut LockedSpool, offset: u64) -> Result<bool, UpdateError> {
    let mut bytes = [0; LINE_MAX + 4];
    let count = spool.read_at(offset, &mut bytes)?;
    Ok(mail_begins(&bytes[..count]))
}

/// Gives the spool's bytes in `sources`, one after the other, to `act`, in chunks.
fn each_chunk(
    spool: &mut LockedSpool,
    sources: &[Range<u64>],
    chunk: &mut [u8],
    mut act: impl FnMut(&mut LockedSpool, &[u8]) -> io::Result<()>,
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
    Ok(act(spool, &chunk[..filled])?)
}

#[cfg(test)]
pub(crate) use tests::broken_off_at;

#[cfg(test)]
mod tests;
