//! The ends of workers, and what they lead to: a free spool, a worker that finishes an update.

use crate::dotlock;
use crate::sessions::{Sessions, Stage};
use crate::workers::{Session, Worker};
use nix::sys::wait::WaitStatus;
use popward_parent::events::ChildId;
use popward_parent::process::REST;
use popward_proto::log::Level;
use popward_proto::sessions_worker::{NOT_OPENED, Task};
use popward_sys::channel::PacketBuffer;
use std::fmt::Display;
use std::path::Path;

impl Sessions {
    /// A worker may have ended.
    pub(crate) fn ended(&mut self, id: ChildId, buffer: &mut PacketBuffer) {
        let worker = self.workers.get_mut(&id);
        let Some(status) = worker.and_then(|worker| worker.child.process.reap()) else {
            return;
        };
        // Everything that it said before its end counts.
        self.read_log(id, buffer, REST);
        self.read_control(id, buffer, REST);
        if let Some(mut worker) = self.workers.remove(&id) {
            let events = &self.starter.starter.events;
            worker.child.forget(events);
            self.starter.logs.forget(id, events);
            self.report(&worker, status);
            self.worker_ended(worker, status);
        }
        self.tidy();
    }

    fn worker_ended(&mut self, worker: Worker, status: WaitStatus) {
        let (mut session, pid) = (worker.session, worker.child.process.origin().pid);
        if let Some((left, ended)) = session.left.take() {
            return self.go_on(*left, ended);
        }
        let in_order = matches!(status, WaitStatus::Exited(_, 0));
        if session.opens() && !in_order && !session.worker_follows(status) {
            self.not_opened(session.id, &session.account);
        }
        let torn = session.is_torn(status);
        // A worker that came to finish an update and could not has no successor. One that died has.
        let could = session.opens() || !matches!(status, WaitStatus::Exited(..));
        let now = torn && could && !matches!(self.stage, Stage::Ending(_));
        if now && self.finish(&session) {
            return self.tend();
        }
        // Nobody should read a spool that is half moved. So its dotlock stays. The next login, or the
        // next start, takes over the dotlock of a dead process and finishes the update.
        if torn {
            return self.go_on(session, status);
        }
        self.remove_dotlock(pid, session, status);
    }

    /// Goes on with a session whose worker has ended with `status`.
    fn go_on(&mut self, session: Session, status: WaitStatus) {
        if self.serves() && session.worker_follows(status) {
            let done = matches!(status, WaitStatus::Exited(_, 0));
            return self.serve_after_adoption(session, done);
        }
        self.tell_of_end(&session);
        self.tend();
    }

    /// Removes the dotlock of a session's worker `pid`, or has a process of the user do it. Goes on
    /// when it is gone.
    fn remove_dotlock(&mut self, pid: u32, session: Session, status: WaitStatus) {
        // No file has the numbers 0.
        let Some(dotlock) = session.dotlock.filter(|file| *file != (0, 0)) else {
            return self.go_on(session, status);
        };
        let (id, account) = (session.id, &session.account);
        let own = self.config.settings.of(account);
        // A directory that all accounts share is root's. A user can own any other one, or a link on
        // the way to it, or mount something there.
        if own.spool.pattern.base().map(Path::new) != Some(session.place.0.as_path()) {
            let task = Task::Free { pid, dotlock };
            let freeing = self.start_worker(id, (account, &own), task, None);
            if let Some(worker) = freeing.and_then(|id| self.workers.get_mut(&id)) {
                worker.session.left = Some((Box::new(session), status));
                return;
            }
        } else if let Err(error) = dotlock::remove(&session, pid, dotlock) {
            let fields: &[(&str, &dyn Display)] =
                &[("session", &id), ("user", &account.name), ("error", &error)];
            self.log.write(Level::Error, "dotlock not removed", fields);
        }
        self.go_on(session, status);
    }

    /// Logs an end that is not in order.
    fn report(&mut self, worker: &Worker, status: WaitStatus) {
        let (session, in_order) = (&worker.session, [0, i32::from(NOT_OPENED)]);
        if matches!(status, WaitStatus::Exited(_, code) if in_order.contains(&code))
            || session.worker_follows(status)
        {
            return;
        }
        let about: &[(&str, &dyn Display)] =
            &[("session", &session.id), ("user", &session.account.name)];
        worker.child.process.report(status, about, &mut self.log);
    }
}
