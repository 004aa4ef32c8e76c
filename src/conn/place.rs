//! A connection's place among the others: as whose it counts, and its end when it has to make room.

use super::{Conn, FULL, Outcome, Turn};
use crate::end_reason::EndReason;
use crate::limits::Party;
use crate::pop3::Waiting;
use crate::proxy::xclient::Forwarded;
use std::rc::Rc;

impl Conn {
    /// Its proxy has said whose it is (XCLIENT). From here on limits and log speak of that client.
    pub(super) fn forwarded(&mut self, forwarded: Forwarded, turn: &mut Turn<'_>) {
        let settings = Rc::clone(&self.settings);
        let (client, limits) = (forwarded.source.ip(), &settings.limits);
        let admitted = turn
            .admission
            .introduce(self.party, client, limits, turn.now);
        self.peer.address = forwarded.source;
        if admitted.is_err() {
            self.client.out.extend_from_slice(FULL);
            return self.end(EndReason::TooMany);
        }
        self.party = Party::Client(client);
        if let Some(proxy) = &mut self.peer.proxy {
            proxy.session = forwarded.session;
        }
        let offer = self.offer();
        self.pop3.forwarded(offer, &mut self.client.out);
    }

    /// Whether its password is being looked at. Not while auth waits for what the client says next.
    pub(crate) fn is_at_auth(&self) -> bool {
        matches!(self.pop3.waiting(), Waiting::Auth | Waiting::Opening)
    }

    /// It has not logged in, and somebody else needs its place: it is told so, if that can be done without waiting.
    pub(crate) fn yields(&mut self, turn: &mut Turn<'_>) -> Outcome {
        if self.pop3.waiting().may_reply() && self.ending.is_none() {
            self.client.out.extend_from_slice(FULL);
            self.client.flush(turn.now);
            self.client.close_write(turn.now);
            self.client.discard(turn.read);
        }
        self.over(EndReason::Yielded, turn)
    }
}
