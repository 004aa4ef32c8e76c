//! The one way in which messages are deleted from a spool.

use crate::error::UpdateError;
use crate::journal::{Journal, is_full};
use crate::locks::LockedSpool;
use crate::pins_file;
use crate::state::{NEXT, State};
use crate::steps::{Sizes, begin, still};
use popward_mbox::index::Identity;
use popward_mbox::pins::Pins;
use popward_mbox::plan::Plan;

/// One deletion: which bytes go, and from which spool.
pub struct Commit<'a> {
    /// The spool.
    pub spool: &'a mut LockedSpool,
    /// The state directory of the spool's user. It holds the journal and the pins. Without it, the
    /// commit fails with [`UpdateError::NoState`].
    pub state: Option<&'a State>,
    /// Which bytes are deleted, and which kept bytes move.
    pub plan: &'a Plan,
    /// The spool's identity when the plan's messages were last looked at. If another program has
    /// written the spool since then, the commit deletes nothing.
    pub seen: Identity,
    /// The pins of the messages that are left. `None`: the pins stay as they are.
    pub pins: Option<&'a Pins>,
}

impl Commit<'_> {
    /// Deletes the messages.
    ///
    /// - `sizes` are [`Sizes::SHIPPED`], except in tests.
    /// - `begins` is called before the first change that another process would have to finish after
    ///   a crash.
    /// - `answer` is called when the deletions are done.
    ///
    /// `Err`: nothing was deleted, except for [`UpdateError::Unfinished`]: then the journal stands,
    /// and the next opening finishes the update. The inner result says whether pins and journal
    /// were put away after `answer`. If they were not, the next opening puts them away.
    pub fn run(
        self,
        sizes: Sizes,
        begins: impl FnOnce(),
        answer: impl FnOnce(),
    ) -> Result<Result<(), UpdateError>, UpdateError> {
        let state = self.state.ok_or(UpdateError::NoState)?;
        // 1. The new pins are written beside the old ones, so that a recovery can put them in place
        //    too.
        stage(state, self.pins);
        // 2. The messages are deleted. Once the journal stands, the update will be finished, even
        //    after a crash.
        let journal = self.delete(state, sizes, begins)?;
        // 3. The client is answered while the journal still stands. If this process dies now, the
        //    journal shows the next process that this update was done or must be finished.
        answer();
        // 4. The new pins replace the old ones, then the journal is put away.
        let put_away = state.finish();
        if let (Ok(()), Some(journal)) = (&put_away, &journal) {
            journal.end();
        }
        Ok(put_away.map_err(UpdateError::System))
    }

    /// Deletes the messages. Returns the journal, which still stands. `None`: the disk had no room
    /// for a journal, and the spool was cut without one.
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
            // No kept message moves, and a cut at a block's start is one change to the disk. So a
            // crash leaves the spool either whole or cut, even without a journal. The cut frees
            // room on the full disk.
            Err(UpdateError::System(error)) if one_change && is_full(&error) => {
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

/// Writes the pins that will hold after the update. An error is ignored, because on a full disk
/// deleting mail is more urgent than pinning names.
pub(crate) fn stage(state: &State, pins: Option<&Pins>) {
    let _ = match pins {
        Some(pins) => pins_file::stage(state, pins),
        // An earlier update that did not happen may have left new pins.
        None => state.remove(NEXT),
    };
}
