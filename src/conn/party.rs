//! The party for which a connection is counted, and a connection that has to make room for another.

use super::state::{Conn, FULL, Outcome, Shared};
use crate::end_reason::EndReason;
use crate::limits::Party;
use crate::pop3::Waiting;
use crate::proxy::xclient::Forwarded;
use std::rc::Rc;

impl Conn {
    /// The proxy has named its client with XCLIENT. Limits and log lines use that client from here
    /// on.
    pub(super) fn forwarded(&mut self, forwarded: Forwarded, shared: &mut Shared<'_>) {
        let settings = Rc::clone(&self.settings);
        let (client, limits) = (forwarded.source.ip(), &settings.limits);
        let admitted = shared
            .admission
            .introduce(self.party, client, limits, shared.now);
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

    /// Whether auth or a new worker has the next step of a login. False while auth waits for the
    /// client's next message.
    pub(crate) fn is_at_auth(&self) -> bool {
        matches!(self.pop3.waiting(), Waiting::Auth | Waiting::Opening)
    }

    /// Ends this connection, which has not logged in, to make room for another. The client gets a
    /// reply if the socket takes it at once.
    pub(crate) fn yields(&mut self, shared: &mut Shared<'_>) -> Outcome {
        if self.pop3.waiting().may_reply() && self.ending.is_none() {
            self.client.out.extend_from_slice(FULL);
            self.client.flush(shared.now);
            self.client.close_write(shared.now);
            self.client.discard(shared.read);
        }
        self.over(EndReason::Yielded, shared)
    }
}
