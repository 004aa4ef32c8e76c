//! The one way in which messages are deleted from a spool.

use crate::error::UpdateError;
use crate::journal::Journal;
use crate::locks::LockedSpool;
use crate::pins_file;
use crate::recovery;
use crate::state::State;
use crate::steps::{Sizes, begin, still};
use popward_mbox::index::Identity;
use popward_mbox::pins::Pins;
use popward_mbox::plan::Plan;
use std::io;

/// What is deleted, and from which spool.
pub struct Commit<'a> {
    /// The spool.
    pub spool: &'a mut LockedSpool,
    /// Its user's state directory, for the journal and the pins.
    pub state: Option<&'a State>,
    /// Which bytes go, and which move.
    pub plan: &'a Plan,
    /// The spool when the plan's messages were last looked at. If another program has written the spool since then,
    /// nothing is deleted.
    pub seen: Identity,
    /// The pins of the messages that are left, if these are other pins than now.
    pub pins: Option<&'a Pins>,
}

impl Commit<'_> {
    /// Deletes. `begins` is called before the first change that a crash would leave for another process to finish.
    /// `answer` is called when the deletions are done.
    ///
    /// An error says that nothing was deleted, but for [`UpdateError::Unfinished`]. The inner result says whether pins
    /// and journal were put away after the answer. If they were not, the next opening does that.
    pub fn run(
        self,
        begins: impl FnOnce(),
        answer: impl FnOnce(),
    ) -> Result<io::Result<()>, UpdateError> {
        self.run_with(Sizes::SHIPPED, begins, answer)
    }

    /// As [`Self::run`], with pieces of these sizes.
    pub(crate) fn run_with(
        self,
        sizes: Sizes,
        begins: impl FnOnce(),
        answer: impl FnOnce(),
    ) -> Result<io::Result<()>, UpdateError> {
        let state = self.state.ok_or(UpdateError::NoState)?;
        // 1. The new pins lie beside the old ones, so that whoever finishes the update finishes them too.
        stage(state, self.pins);
        // 2. The messages go. From the journal's first step on, the update will be done, whatever happens.
        let journal = self.delete(state, sizes, begins)?;
        // 3. The client is answered while the journal stands. So if this process dies now, the journal shows that the
        //    update was done or has to be finished.
        answer();
        // 4. The new pins take the place of the old ones, then the journal goes.
        Ok(finish(state, journal.as_ref()))
    }

    /// Returns the journal, which still stands. `None`: the disk had no room for a journal, and the spool was cut
    /// without one.
    fn delete(
        self,
        state: &State,
        sizes: Sizes,
        begins: impl FnOnce(),
    ) -> Result<Option<Journal>, UpdateError> {
        let Self {
            spool, plan, seen, ..
        } = self;
        let one_change = plan.kept.is_empty() && plan.final_length % sizes.block_max == 0;
        let mut steps = match begin(spool, state, plan, seen, sizes, begins) {
            // Deleting every message makes room, and the cut is one change to the disk.
            Err(UpdateError::System(error)) if one_change && is_for_room(&error) => {
                spool.prove_place()?;
                still(spool, &seen)?;
                spool.truncate(plan.final_length)?;
                return Ok(None);
            }
            begun => begun?,
        };
        let unfinished = |error| UpdateError::Unfinished(Box::new(error));
        steps.run(spool).map_err(unfinished)?;
        Ok(Some(steps.journal))
    }
}

/// Finishes the update that a process which died has left, if there is one. Returns whether there was one. `begins` is
/// called before the first change, if bytes are still to be moved.
pub fn recover(
    spool: &mut LockedSpool,
    state: &State,
    begins: impl FnOnce(),
) -> Result<bool, UpdateError> {
    recovery::recover(Sizes::SHIPPED, spool, state, begins)
}

/// Writes the pins that will hold after the update. On a full disk deleting goes before pinning.
pub(crate) fn stage(state: &State, pins: Option<&Pins>) {
    let _ = match pins {
        Some(pins) => pins_file::stage(state, pins),
        // An update that did not happen may have left some.
        None => state.forget(),
    };
}

fn finish(state: &State, journal: Option<&Journal>) -> io::Result<()> {
    state.finish()?;
    if let Some(journal) = journal {
        journal.end();
    }
    Ok(())
}

/// Whether the disk, or its user's part of it, is full.
fn is_for_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}
