//! The table of connections. The event loop finds a connection by its slot (the loop's token). The
//! other processes name it by its session. The table also knows the strangers: the connections that
//! have not logged in.

use crate::conn::Conn;
use crate::handle::Handle;
use crate::proxy::connection::ProxyConnection;
use popward_proto::account::{FrontId, SessionId};
use std::collections::HashMap;
use std::time::Instant;

/// The connection in a slot.
pub(crate) enum Occupant {
    /// A proxy's connection whose PROXY header is not complete.
    Proxy(Box<ProxyConnection>),
    /// A client's connection.
    Conn(Box<Conn>),
}

impl Occupant {
    fn handle(&self) -> Handle {
        match self {
            Self::Proxy(proxy) => proxy.handle,
            Self::Conn(conn) => conn.handle,
        }
    }

    fn id(&self) -> SessionId {
        match self {
            Self::Proxy(proxy) => proxy.id,
            Self::Conn(conn) => conn.id,
        }
    }
}

/// The table of connections.
pub(crate) struct Slots {
    front: FrontId,
    occupants: Vec<Option<Occupant>>,
    free: Vec<usize>,
    /// Slots that came free during the current turn of the event loop. They are not used again in
    /// this turn, because an event of this turn may still mean the old connection.
    freed: Vec<usize>,
    sessions: HashMap<SessionId, usize>,
    strangers: Strangers,
    count: u32,
}

impl Slots {
    /// An empty table for the front with this number.
    pub(crate) fn new(front: FrontId) -> Self {
        Self {
            front,
            occupants: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            sessions: HashMap::new(),
            strangers: Strangers::default(),
            count: 0,
        }
    }

    /// Gives the next connection its slot and its session. The slot stays reserved until
    /// [`Slots::put`] or [`Slots::take`].
    pub(crate) fn reserve(&mut self) -> (Handle, SessionId) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.occupants.push(None);
            self.occupants.len() - 1
        });
        self.count = self.count.wrapping_add(1);
        let handle = Handle {
            slot,
            count: self.count,
        };
        (handle, SessionId::new(self.front, self.count))
    }

    /// Puts a connection into its slot. It is a new one, or the client's connection that follows a
    /// complete PROXY header. It counts as a stranger.
    pub(crate) fn put(&mut self, occupant: Occupant) {
        let slot = occupant.handle().slot;
        self.sessions.insert(occupant.id(), slot);
        self.occupants[slot] = Some(occupant);
        self.strangers.add(slot);
    }

    /// Takes a connection out of the table, or gives back a slot that was only reserved.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Occupant> {
        self.freed.push(slot);
        self.strangers.remove(slot);
        let occupant = self.occupants[slot].take()?;
        self.sessions.remove(&occupant.id());
        Some(occupant)
    }

    /// Takes a proxy's connection out of its slot. The slot stays reserved for the client's
    /// connection that follows.
    pub(crate) fn take_proxy(&mut self, slot: usize) -> Option<ProxyConnection> {
        match self.occupants.get_mut(slot)?.take()? {
            Occupant::Proxy(proxy) => {
                self.sessions.remove(&proxy.id);
                Some(*proxy)
            }
            conn @ Occupant::Conn(_) => {
                self.occupants[slot] = Some(conn);
                None
            }
        }
    }

    /// Makes the slots that came free usable again. The caller calls this when all events of a turn
    /// are done.
    pub(crate) fn recycle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The client's connection in a slot.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Conn> {
        match self.occupants.get_mut(slot)? {
            Some(Occupant::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    /// The proxy's connection in a slot, if its header is not complete.
    pub(crate) fn proxy(&mut self, slot: usize) -> Option<&mut ProxyConnection> {
        match self.occupants.get_mut(slot)? {
            Some(Occupant::Proxy(proxy)) => Some(proxy),
            _ => None,
        }
    }

    /// The connection of this handle. `None` if it has ended, even if its slot has a new
    /// connection.
    pub(crate) fn get(&mut self, handle: Handle) -> Option<&mut Conn> {
        self.at(handle.slot).filter(|conn| conn.handle == handle)
    }

    /// The slot of a session.
    pub(crate) fn of_session(&self, id: SessionId) -> Option<usize> {
        self.sessions.get(&id).copied()
    }

    /// The slots that are in use.
    pub(crate) fn in_use(&self) -> Vec<usize> {
        self.sessions.values().copied().collect()
    }

    /// Whether the table has no connection.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Notes that the connection in this slot has logged in. It is no stranger any more.
    pub(crate) fn logged_in(&mut self, slot: usize) {
        self.strangers.remove(slot);
    }

    /// The number of strangers.
    pub(crate) fn strangers(&self) -> usize {
        self.strangers.slots.len()
    }

    /// The stranger at place `number` modulo the number of strangers. The places have no order.
    /// `None`: there is no stranger.
    pub(crate) fn stranger(&self, number: u64) -> Option<Stranger> {
        let count = u64::try_from(self.strangers()).ok()?;
        let place = usize::try_from(number.checked_rem(count)?).ok()?;
        let slot = *self.strangers.slots.get(place)?;
        let (at_auth, since) = match self.occupants.get(slot)?.as_ref()? {
            Occupant::Proxy(proxy) => (false, proxy.accepted),
            Occupant::Conn(conn) => (conn.is_at_auth(), conn.accepted),
        };
        Some(Stranger {
            at_auth,
            since,
            slot,
        })
    }
}

/// A connection that has not logged in. The order of the fields is the order of yielding: the
/// smallest yields first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stranger {
    /// Whether auth checks its password now. Such a connection yields after those that wait for
    /// their client.
    at_auth: bool,
    /// When it was accepted. The oldest yields first.
    pub(crate) since: Instant,
    /// Its slot.
    pub(crate) slot: usize,
}

/// A set of slots. Adding, removing and drawing a slot by its place take constant time.
#[derive(Debug, Default)]
struct Strangers {
    slots: Vec<usize>,
    /// For each slot its place in `slots`, counted from 1. 0: the slot is not in the set.
    places: Vec<usize>,
}

impl Strangers {
    fn add(&mut self, slot: usize) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, 0);
        }
        if self.places[slot] == 0 {
            self.slots.push(slot);
            self.places[slot] = self.slots.len();
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(place) = self.places.get_mut(slot).map(std::mem::take) else {
            return;
        };
        if place > 0 {
            self.slots.swap_remove(place - 1);
            if let Some(moved) = self.slots.get(place - 1) {
                self.places[*moved] = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Strangers;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn strangers_are_a_set(steps in proptest::collection::vec((any::<bool>(), 0usize..40), 0..400)) {
            let (mut strangers, mut model) = (Strangers::default(), BTreeSet::new());
            for (adds, slot) in steps {
                if adds {
                    strangers.add(slot);
                    model.insert(slot);
                } else {
                    strangers.remove(slot);
                    model.remove(&slot);
                }
                let mut slots = strangers.slots.clone();
                slots.sort_unstable();
                prop_assert!(slots.iter().eq(&model));
            }
        }
    }
}
