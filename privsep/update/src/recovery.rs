//! Finishes the update of a process that died. First the journal is compared with the spool. If
//! anything does not fit, nothing is changed and the journal stays.

use crate::error::UpdateError;
use crate::journal::Journal;
use crate::locks::LockedSpool;
use crate::state::{NEXT, State};
use crate::steps::{BLOCK_MIN, Sizes, Steps, look_at, look_before, mail_begins_at, read_range};
use popward_mbox::journal::{LOOK, Stage};

/// Finishes the update of the journal that stands, if one does. Returns whether one stood.
///
/// `begins` is called before the first change, if the spool still has to change. Errors that are
/// [`UpdateError::Changed`] mean that the spool or the journal is not as expected.
pub(crate) fn recover(
    sizes: Sizes,
    spool: &mut LockedSpool,
    state: &State,
    begins: impl FnOnce(),
) -> Result<bool, UpdateError> {
    let Some(journal) = Journal::open(state)? else {
        state.remove(NEXT)?;
        return Ok(false);
    };
    // The process that died may have synced neither the journal's name nor its last writes. They
    // must be on disk before the spool is written again.
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
        // The cut is done. Bytes after the final length arrived since, and must be mail.
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
        // The head could be read, but the process that died may not have synced it.
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

/// Checks that the bytes that still have to move are where the journal says. If they are not,
/// another program has rewritten the spool.
fn prove_sources(steps: &Steps, spool: &mut LockedSpool) -> Result<(), UpdateError> {
    // A piece in a slot needs no check in the spool, and part of it may already be in its place. A
    // direct piece overwrites none of its own bytes, so it is checked too.
    let from = match steps.head.stage {
        Stage::Direct => steps.head.at,
        Stage::Slot | Stage::Cut => steps.head.at + steps.head.piece,
    };
    for kept in steps.kept.untouched(from) {
        // Mail that arrived later may have extended the last range. The mark does not cover that
        // mail.
        let range = kept.source.start..kept.source.end.min(steps.head.planned);
        if !range.is_empty() && look_at(spool, &range)? != kept.mark {
            return Err(UpdateError::Changed("the spool was rewritten since"));
        }
    }
    // The last bytes before `planned` can be checked only while no piece has overwritten them and
    // no cut has cleared them.
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

/// Whether the cut is still to be done. The caller knows that the spool is at least as long as
/// before the cut. That alone proves nothing, because new mail may have made a cut spool that long
/// again.
///
/// A power cut during the cut can clear the rest of the block in which the cut lies. So a cleared
/// block also means that the cut is still to be done.
fn is_not_cut(steps: &Steps, spool: &mut LockedSpool) -> Result<bool, UpdateError> {
    let start = steps.kept.final_length();
    let block_end = (start + 1).next_multiple_of(BLOCK_MIN);
    let block_end = block_end.min(steps.head.length);
    let zeros = read_range(spool, start..block_end)?;
    let cleared = !zeros.is_empty() && zeros.iter().all(|byte| *byte == 0);
    Ok(cleared || steps.cut_check(spool)? == steps.head.check)
}
