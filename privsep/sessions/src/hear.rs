//! What sessions reads from auths, workers and the supervisor, and what each message leads to.

use crate::sessions::Sessions;
use popward_parent::events::ChildId;
use popward_proto::auth_sessions::AuthToSessions;
use popward_proto::log::Level;
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::supervisor_sessions::SupervisorToSessions;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::os::fd::AsFd;

impl Sessions {
    /// Reads at most `most` records of a worker.
    pub(crate) fn read_log(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        let (log, events) = (&mut self.log, &self.starter.starter.events);
        self.starter.logs.read(id, log, events, buffer, most);
    }

    /// Reads at most `most` packets of a channel.
    pub(crate) fn read_control(&mut self, id: ChildId, buffer: &mut PacketBuffer, most: usize) {
        for _ in 0..most {
            match self.read_packet(id, buffer) {
                Some(Ok(())) => {}
                None | Some(Err(ChannelError::WouldBlock)) => return,
                Some(Err(error)) => return self.failed(id, &error),
            }
        }
    }

    /// Reads one packet of a channel. `None`: there is no such channel.
    fn read_packet(
        &mut self,
        id: ChildId,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<(), ChannelError>> {
        if let Some(worker) = self.workers.get_mut(&id) {
            let received = worker.child.receive(buffer)?;
            return Some(received.map(|(message, _)| worker.session.heard(message)));
        }
        if self.supervisor.0 == id {
            let received = self.supervisor.1.receive(buffer);
            return Some(received.map(|(message, _)| self.heard_supervisor(&message)));
        }
        let received = self.auths.get_mut(&id)?.receive(buffer);
        Some(received.map(|(message, _)| self.heard_auth(id, message)))
    }

    /// A channel has ended or failed.
    fn failed(&mut self, id: ChildId, error: &ChannelError) {
        let closed = *error == ChannelError::Closed;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.child.disconnect(&self.starter.starter.events);
            // A worker that has closed its channel ends by itself.
            if !closed {
                worker.child.process.banish(error, &mut self.log);
            }
        } else if self.supervisor.0 == id {
            self.starter
                .starter
                .events
                .forget(self.supervisor.1.as_fd());
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
}
