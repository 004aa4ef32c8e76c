//! What sessions reads from auths, workers and the supervisor, and what each message leads to.

use crate::sessions::Sessions;
use crate::workers::Progress;
use popward_parent::events::ChildId;
use popward_proto::auth_sessions::AuthToSessions;
use popward_proto::log::Level;
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::{Task, WorkerToSessions};
use popward_proto::supervisor_sessions::SupervisorToSessions;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::fmt::Display;
use std::os::fd::AsFd;

/// A message, by the kind of its sender.
enum Heard {
    Auth(AuthToSessions),
    Supervisor(SupervisorToSessions),
    Worker(WorkerToSessions),
}

impl Sessions {
    /// Reads at most `most` records of a worker.
    pub(crate) fn read_log(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let (log, events) = (&mut self.log, &self.starter.events);
            worker.process.read_log(log, events, buffer, most);
        }
    }

    /// Reads at most `most` packets of a channel.
    pub(crate) fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.receive(id, buffer) {
                None | Some(Err(ChannelError::WouldBlock)) => return,
                Some(Ok(Heard::Auth(message))) => self.heard_auth(id, message),
                Some(Ok(Heard::Supervisor(message))) => self.heard_supervisor(&message),
                Some(Ok(Heard::Worker(message))) => self.heard_worker(id, message),
                Some(Err(error)) => return self.failed(id, &error),
            }
        }
    }

    /// Receives over the channel of this number. `None`: there is no such channel.
    fn receive(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<Heard, ChannelError>> {
        if let Some(worker) = self.workers.get_mut(&id) {
            let heard = worker.channel.receive(buffer);
            return Some(heard.map(|(message, _)| Heard::Worker(message)));
        }
        if self.supervisor.0 == id {
            let heard = self.supervisor.1.receive(buffer);
            return Some(heard.map(|(message, _)| Heard::Supervisor(message)));
        }
        let heard = self.auths.get_mut(&id)?.receive(buffer);
        Some(heard.map(|(message, _)| Heard::Auth(message)))
    }

    /// A channel has ended or failed.
    fn failed(&mut self, id: ChildId, error: &ChannelError) {
        let closed = *error == ChannelError::Closed;
        if let Some(worker) = self.workers.get(&id) {
            self.starter.events.forget(worker.channel.as_fd());
            // A worker that has closed its channel ends by itself.
            if !closed {
                worker.process.kill();
                let origin = worker.process.origin();
                let fields: &[(&str, &dyn Display)] = &[
                    ("process", &origin.role.name()),
                    ("pid", &origin.pid),
                    ("error", error),
                ];
                let text = "broke the rules of its channel: killed";
                self.log.write(Level::Error, text, fields);
            }
        } else if self.supervisor.0 == id {
            self.starter.events.forget(self.supervisor.1.as_fd());
            // Without a supervisor the monitor ends, and so does this process.
            if !closed {
                let text = "the supervisor broke the rules";
                self.log.write(Level::Error, text, &[("error", error)]);
                self.end();
            }
        } else if closed {
            self.disconnect(id);
        } else {
            self.break_with(id, error);
        }
    }

    fn heard_auth(&mut self, id: ChildId, message: AuthToSessions) {
        match message {
            AuthToSessions::Granted { session, account } => self.granted(session, account),
            AuthToSessions::Drained if self.own_auth == Some(id) => {
                self.auth_drained = true;
                self.tidy();
            }
            // Only its own monitor waits for its end.
            AuthToSessions::Drained => {}
        }
    }

    fn heard_supervisor(&mut self, message: &SupervisorToSessions) {
        match message {
            SupervisorToSessions::Claimed(session, refusal) => self.claimed(*session, *refusal),
            SupervisorToSessions::Newcomer(session) => {
                // Without its front, the session ends anyway.
                let newcomer = SessionsToFront::Newcomer(*session);
                self.tell_front(session.front(), &newcomer, &[]);
            }
            // It comes before the start only.
            SupervisorToSessions::Start { .. } => {}
        }
    }

    fn heard_worker(&mut self, id: ChildId, message: WorkerToSessions) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let session = &mut worker.session;
        match message {
            WorkerToSessions::Dotlock { device, inode } => session.dotlock = Some((device, inode)),
            WorkerToSessions::Updates => session.update = Progress::Begun,
            // The update of its own session is still to come.
            WorkerToSessions::Finished if session.task == Task::Serve => {
                session.update = Progress::None;
            }
            WorkerToSessions::Finished => session.update = Progress::Finished,
        }
    }
}
