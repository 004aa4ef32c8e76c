//! The end of a front: after a reload another front takes over, or the server ends.

use super::state::Front;
use crate::conn::Conn;
use crate::end_reason::EndReason;
use std::time::Duration;

/// At the end of the server, how long a connection has to log in. Clients that are in the middle of
/// a login need less. Without a limit, a stranger who does nothing would delay each restart by
/// `server.shutdown_grace`.
const LOGINS: Duration = Duration::from_secs(10);

impl Front {
    /// Another front has taken over. This one accepts no new connections, and serves its
    /// connections to their end.
    pub(super) fn retire(&mut self) {
        self.stop_accepting();
        self.retired = true;
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        self.tells_expiry = None;
        for listener in &mut self.listeners {
            // Other processes have the same socket open. So closing it here would not end its
            // events.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        self.listeners.clear();
    }

    /// The server ends. This front accepts no new connections. Those that are there have some time
    /// to log in, and some more for their sessions.
    pub(super) fn start_drain(&mut self) {
        self.stop_accepting();
        let grace = Duration::from_millis(self.settings.limits.drain_ms.into());
        self.drain = Some(self.now + grace);
        self.drain_strangers = Some(self.now + grace.min(LOGINS));
    }

    /// Ends the connections whose time is over. If none is left, tells the monitor.
    pub(super) fn finish_ending(&mut self) {
        let strangers = self.drain_strangers.take_if(|until| *until <= self.now);
        if strangers.is_some() {
            for slot in self.slots.in_use() {
                self.dismiss(slot);
                self.with(slot, Conn::drain);
            }
        }
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
