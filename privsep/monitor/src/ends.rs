//! The ends of children, and what they lead to: a free spool, a worker that finishes an update,
//! another part.

use crate::conversations::converses;
use crate::dotlock;
use crate::monitor::{Monitor, Stage};
use crate::sessions::{Session, Worker};
use nix::sys::wait::WaitStatus;
use popward_parent::events::ChildId;
use popward_parent::process::{Process, REST, how};
use popward_proto::log::Level;
use popward_proto::monitor_worker::{NOT_OPENED, Task};
use popward_sys::channel::PacketBuffer;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

impl Monitor {
    /// A child may have ended.
    pub(crate) fn ended(&mut self, id: ChildId, buffer: &mut PacketBuffer) {
        let Some(status) = self.process(id).and_then(Process::reap) else {
            return;
        };
        // Everything that it said before its end counts.
        self.read_log(id, buffer, REST);
        self.read_control(id, buffer, REST);
        if let Some(worker) = self.workers.remove(&id) {
            self.starter.events.forget(worker.channel.as_fd());
            worker.process.forget(&self.starter.events);
            self.report(&worker.process, status, Some(&worker.session));
            self.worker_ended(worker, status);
        } else if let Some((_, process)) = self.leaving.remove(&id) {
            process.forget(&self.starter.events);
            let role = process.origin().role;
            let died = converses(role) && !matches!(status, WaitStatus::Exited(_, 0));
            if died
                && self
                    .of_conversations
                    .may_log(role, Instant::now())
                    .is_some()
            {
                self.report(&process, status, None);
            }
        } else {
            self.part_ended(id, status);
        }
    }

    /// A part has ended by itself, or was killed.
    fn part_ended(&mut self, id: ChildId, status: WaitStatus) {
        let Some(process) = self.parts.take(id, &self.starter.events) else {
            return;
        };
        process.forget(&self.starter.events);
        self.report(&process, status, None);
        let role = process.origin().role;
        if matches!(self.stage, Stage::Rising(_)) {
            let name = role.name();
            let how = how(status);
            self.not_risen(&format_args!(
                "popward-{name} ended before everything was ready: {how}"
            ));
        }
        self.again_later(role, process.life());
        self.tidy();
    }

    fn worker_ended(&mut self, worker: Worker, status: WaitStatus) {
        let (mut session, pid) = (worker.session, worker.process.origin().pid);
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
    fn report(&mut self, process: &Process, status: WaitStatus, session: Option<&Session>) {
        let code = match status {
            WaitStatus::Exited(_, code) => Some(code),
            _ => None,
        };
        let in_order = match session {
            Some(session) => {
                code == Some(0)
                    || code == Some(i32::from(NOT_OPENED))
                    || session.worker_follows(status)
            }
            None => code == Some(0) && matches!(self.stage, Stage::Ending(_)),
        };
        if in_order {
            return;
        }
        let (origin, how, seconds) = (process.origin(), how(status), process.life().as_secs());
        let name = origin.role.name();
        let mut fields: Vec<(&str, &dyn Display)> = vec![
            ("process", &name),
            ("pid", &origin.pid),
            ("of", &how),
            ("seconds", &seconds),
        ];
        if let Some(session) = session {
            fields.push(("session", &session.id));
            fields.push(("user", &session.account.name));
        }
        self.log.write(Level::Error, "process died", &fields);
    }
}
