//! An update that a process that died has left: what its journal says is held against the spool, then the update is
//! finished. Any doubt changes nothing and keeps the journal.

use crate::error::UpdateError;
use crate::journal::Journal;
use crate::locks::LockedSpool;
use crate::state::State;
use crate::steps::{BLOCK_MIN, Sizes, Steps, look_at, look_before, mail_begins_at, read_range};
use popward_mbox::journal::{LOOK, Stage};

/// Finishes the update of a journal that is found. Returns whether there was one. `begins` as for [`update`].
pub(crate) fn recover(
    sizes: Sizes,
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
    let mut steps = Steps::new(journal, head, kept, sizes);
    let whole = identity.length >= steps.head.length;
    let cutting = steps.head.stage == Stage::Cut;
    if cutting && !(whole && is_not_cut(&steps, spool)?) {
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
        if steps.head.stage == Stage::Slot && !slot_is_whole(&mut steps)? {
            return Err(damaged());
        }
        prove_sources(&steps, spool)?;
        begins();
        // It is read here, but whoever died may not have had it on disk.
        steps.journal.write_head(&steps.head)?;
        steps.run(spool)?;
    }
    state.finish()?;
    steps.journal.end();
    Ok(true)
}

fn slot_is_whole(steps: &mut Steps) -> Result<bool, UpdateError> {
    let mut check = crc32fast::Hasher::new();
    steps.each_of_slot(|bytes| {
        check.update(bytes);
        Ok(())
    })?;
    Ok(u64::from(check.finalize()) == steps.head.check)
}

/// What is still to be moved must lie where it lay, or another program has rewritten the spool since.
fn prove_sources(steps: &Steps, spool: &mut LockedSpool) -> Result<(), UpdateError> {
    // The piece itself is in its slot and may be half in its place; or it overwrites nothing that it needs.
    let from = match steps.head.stage {
        Stage::Direct => steps.kept.place(steps.head.at),
        Stage::Slot | Stage::Cut => steps.place,
    };
    for (range, mark) in steps.kept.untouched(from) {
        // The last one may have been extended by mail that came since.
        let range = range.start..range.end.min(steps.head.planned);
        if !range.is_empty() && look_at(spool, &range)? != *mark {
            return Err(UpdateError::Changed("the spool was rewritten since"));
        }
    }
    // Nothing has been put there yet, nor cleared by a cut.
    let there = steps.head.stage != Stage::Cut
        && steps.head.at + steps.head.piece + LOOK as u64 <= steps.head.planned;
    if there && look_before(spool, steps.head.planned)? != steps.head.end_mark {
        return Err(UpdateError::Changed("the spool was rewritten since"));
    }
    let length = steps.head.length;
    if spool.identity()?.length > length && !mail_begins_at(spool, length)? {
        return Err(UpdateError::Changed(
            "what was added to the spool is no mail",
        ));
    }
    Ok(())
}

/// Whether the spool, which is as long as it was, is still to be cut: no mail has made it so long again. Of the block in
/// which the cut is, the rest may have been cleared already.
fn is_not_cut(steps: &Steps, spool: &mut LockedSpool) -> Result<bool, UpdateError> {
    let start = steps.kept.final_length();
    let block_end = (start + 1).next_multiple_of(BLOCK_MIN);
    let block_end = block_end.min(steps.head.length);
    let zeros = read_range(spool, start..block_end)?;
    let cleared = !zeros.is_empty() && zeros.iter().all(|byte| *byte == 0);
    Ok(cleared || steps.cut_check(spool)? == steps.head.check)
}
