//! QUIT: deletes the marked messages. Nothing else deletes (promise P7).

use super::Session;
use crate::index::{self, Seen};
use crate::transport::{Transport, send};
use popward_mbox::index::Identity;
use popward_mbox::plan::{self, Plan};
use popward_proto::session::{Update, WorkerToFront};
use popward_proto::sessions_worker::WorkerToSessions;
use popward_update::Sizes;
use popward_update::commit::Commit;
use popward_update::error::UpdateError;
use popward_update::last_line::end_last_line;
use popward_update::state::INDEX;

/// What QUIT has done.
pub struct Done {
    /// What the client is told.
    pub update: Update,
    /// Whether the pins and the new index were written and the journal was put away, after the
    /// answer.
    pub put_away: Result<(), UpdateError>,
}

impl Session {
    /// Deletes the marked messages, and answers QUIT once that is done.
    pub(super) fn update(&mut self) -> Result<Done, UpdateError> {
        let update = Update {
            deleted: self.sum(true),
            left: self.totals(),
        };
        let Some(plan) = Plan::new(&self.maildrop, &self.deleted) else {
            self.end(&WorkerToFront::Committed(update));
            let put_away = Ok(());
            return Ok(Done { update, put_away });
        };
        let seen = self.prove_plan(&plan)?;
        let pins = self.naming.pins_left(&self.maildrop, &self.deleted);
        let Transport { ends, spool } = &mut self.transport;
        let commit = Commit {
            spool: spool.as_mut().ok_or(UpdateError::NoState)?,
            state: self.state.as_ref(),
            plan: &plan,
            seen,
            pins: pins.as_ref(),
        };
        // If the message is lost and this process dies, the next opening finishes the update.
        let begins = || {
            let _ = ends.monitor.send(&WorkerToSessions::Updates);
        };
        // The front may have gone. The deletions stay done.
        let committed = || {
            let _ = send(ends, None, |front| {
                front.send(&WorkerToFront::Committed(update))
            });
        };
        let put_away = commit.run(Sizes::SHIPPED, begins, committed)?;
        let put_away = put_away.and_then(|()| self.keep_left());
        Ok(Done { update, put_away })
    }

    /// Checks each message that an update of this plan deletes or moves. Returns the spool's
    /// numbers from before the checks.
    fn prove_plan(&mut self, plan: &Plan) -> Result<Identity, UpdateError> {
        let spool = self.transport.spool()?;
        spool.prove_place()?;
        let now = spool.identity()?;
        if now.length != self.maildrop.length {
            return Err(UpdateError::Changed("the spool is not as long as it was"));
        }
        // Kept messages move in whole ranges. So only each deleted message and the first message of
        // each range need a check.
        let begins = |start: u64| plan.kept.binary_search_by_key(&start, |kept| kept.start);
        let as_seen = self.seen.is_some_and(|seen| seen.holds(spool));
        for index in 0..self.deleted.len() {
            let start = self.maildrop.messages[index].from_line;
            let moves = self.deleted[index] || begins(start).is_ok();
            if moves && !(as_seen && self.proved[index]) {
                self.prove(index)?;
            }
        }
        Ok(now)
    }

    /// Ends the spool's last line after an update, and writes the index of the messages that are
    /// left.
    fn keep_left(&mut self) -> Result<(), UpdateError> {
        let (Some(spool), Some(state)) = (&mut self.transport.spool, &self.state) else {
            return Ok(());
        };
        let left = plan::left(&self.maildrop, &self.deleted);
        if end_last_line(spool, &left)? {
            // The spool is a byte longer than the index would say. The next session reads it.
            return Ok(state.remove(INDEX)?);
        }
        self.naming.load(Some(state))?;
        let mut seen = Seen::soon(spool)?;
        // After the deletions, a Content-Length that did not hold before may hold.
        seen.settled &= !self.distrusted && !left.claims.within;
        Ok(index::keep(state, seen, &self.naming.rules, &left)?)
    }
}
