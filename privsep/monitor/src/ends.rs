//! The ends of children: another one is started, or the monitor ends.

use crate::conversations::converses;
use crate::monitor::{FAREWELL, Monitor, Stage};
use nix::sys::wait::WaitStatus;
use popward_parent::events::ChildId;
use popward_parent::process::{Process, REST, how};
use popward_sys::channel::PacketBuffer;
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
        if let Some((_, process)) = self.leaving.remove(&id) {
            process.forget(&self.starter.events);
            self.parts.logs.forget(id, &self.starter.events);
            let role = process.origin().role;
            let died = converses(role) && !matches!(status, WaitStatus::Exited(_, 0));
            if died
                && self
                    .of_conversations
                    .may_log(role, Instant::now())
                    .is_some()
            {
                self.report(&process, status);
            }
        } else if self.parts.sessions.as_ref().is_some_and(|it| it.id() == id) {
            self.sessions_ended(status);
        } else {
            self.part_ended(id, status);
        }
    }

    /// Without sessions, nobody can log in, and nobody knows the sessions that run.
    fn sessions_ended(&mut self, status: WaitStatus) {
        let Some(mut sessions) = self.parts.sessions.take() else {
            return;
        };
        sessions.forget(&self.starter.events);
        self.report(&sessions.process, status);
        if matches!(self.stage, Stage::Rising(_)) {
            self.not_risen(&"popward-sessions ended before everything was ready");
        } else if !matches!(self.stage, Stage::Ending(_)) {
            self.end(FAREWELL);
        }
    }

    /// A part has ended by itself, or was killed.
    fn part_ended(&mut self, id: ChildId, status: WaitStatus) {
        let Some(process) = self.parts.take(id, &self.starter.events) else {
            return;
        };
        process.forget(&self.starter.events);
        self.parts.logs.forget(id, &self.starter.events);
        self.report(&process, status);
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

    /// Logs an end that is not in order.
    fn report(&mut self, process: &Process, status: WaitStatus) {
        let in_order = matches!(status, WaitStatus::Exited(_, 0));
        if !in_order || !matches!(self.stage, Stage::Ending(_)) {
            process.report(status, &[], &mut self.log);
        }
    }
}
