//! The end of a front: after a reload another front takes over, or the server ends.

use super::state::Front;
use crate::conn::Conn;
use crate::end_reason::EndReason;
use std::time::Duration;

impl Front {
    /// Another front has taken over. This one accepts no new connections, and serves its
    /// connections to their end.
    pub(super) fn retire(&mut self) {
        self.stop_accepting();
        self.retired = true;
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        for listener in &mut self.listeners {
            // Other processes have the same socket open. So closing it here would not end its
            // events.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        self.listeners.clear();
    }

    /// The server ends. This front accepts no new connections, and ends the connections that have
    /// not logged in.
    pub(super) fn start_drain(&mut self) {
        self.stop_accepting();
        self.drain = Some(self.now + Duration::from_millis(self.settings.limits.drain_ms.into()));
        for slot in self.slots.in_use() {
            self.dismiss(slot);
            self.with(slot, Conn::drain);
        }
    }

    /// Ends the connections that are left if their time is over. If none is left, tells the
    /// monitor.
    pub(super) fn finish_ending(&mut self) {
        if self.drain.is_some_and(|until| until <= self.now) {
            for slot in self.slots.in_use() {
                self.with(slot, |conn, shared| conn.over(EndReason::Shutdown, shared));
            }
        }
        let ends = self.retired || self.drain.is_some();
        if ends && self.slots.is_empty() && self.admission.open() == 0 {
            self.channels.send_drained();
        }
    }
}
