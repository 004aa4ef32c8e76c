//! The connections, by slot (the event loop's token) and by session (the other processes' name for one); and which of them
//! are strangers: have not logged in.

use crate::conn::Conn;
use crate::handle::Handle;
use crate::proxy::caller::Caller;
use popward_proto::account::{FrontId, SessionId};
use std::collections::HashMap;
use std::time::Instant;

/// Who has a slot.
pub(crate) enum Occupant {
    /// A proxy whose header is not complete.
    Caller(Box<Caller>),
    /// A client.
    Conn(Box<Conn>),
}

impl Occupant {
    fn handle(&self) -> Handle {
        match self {
            Self::Caller(caller) => caller.handle,
            Self::Conn(conn) => conn.handle,
        }
    }

    fn id(&self) -> SessionId {
        match self {
            Self::Caller(caller) => caller.id,
            Self::Conn(conn) => conn.id,
        }
    }
}

/// The table of connections.
pub(crate) struct Slots {
    front: FrontId,
    occupants: Vec<Option<Occupant>>,
    free: Vec<usize>,
    /// Slots that came free while events are being worked off: one of those may still mean the old connection.
    freed: Vec<usize>,
    sessions: HashMap<SessionId, usize>,
    strangers: Strangers,
    count: u32,
}

impl Slots {
    /// An empty table of `front`.
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

    /// Names the next connection. Its slot stays reserved until [`Slots::put`] or [`Slots::take`].
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

    /// Puts a connection into its slot: a new one, or a client's in place of the call that announced it. It is a stranger.
    pub(crate) fn put(&mut self, occupant: Occupant) {
        let slot = occupant.handle().slot;
        self.sessions.insert(occupant.id(), slot);
        self.occupants[slot] = Some(occupant);
        self.strangers.add(slot);
    }

    /// Takes the connection of a slot out of the table, or gives a reserved slot back.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Occupant> {
        self.freed.push(slot);
        self.strangers.remove(slot);
        let occupant = self.occupants[slot].take()?;
        self.sessions.remove(&occupant.id());
        Some(occupant)
    }

    /// Takes a call out of its slot, which stays reserved for what becomes of it.
    pub(crate) fn take_caller(&mut self, slot: usize) -> Option<Caller> {
        match self.occupants.get_mut(slot)?.take()? {
            Occupant::Caller(caller) => {
                self.sessions.remove(&caller.id);
                Some(*caller)
            }
            conn @ Occupant::Conn(_) => {
                self.occupants[slot] = Some(conn);
                None
            }
        }
    }

    /// No event of before is outstanding: slots that came free can be used again.
    pub(crate) fn recycle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The connection in a slot.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Conn> {
        match self.occupants.get_mut(slot)? {
            Some(Occupant::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    /// The call in a slot.
    pub(crate) fn caller(&mut self, slot: usize) -> Option<&mut Caller> {
        match self.occupants.get_mut(slot)? {
            Some(Occupant::Caller(caller)) => Some(caller),
            _ => None,
        }
    }

    /// The very connection of that handle, if it is still there.
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

    /// Whether there is no connection.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whoever has this slot has logged in.
    pub(crate) fn logged_in(&mut self, slot: usize) {
        self.strangers.remove(slot);
    }

    /// How many have not logged in.
    pub(crate) fn strangers(&self) -> usize {
        self.strangers.slots.len()
    }

    /// The stranger at place `number` modulo their number; in no order.
    pub(crate) fn stranger(&self, number: u64) -> Option<Stranger> {
        let count = u64::try_from(self.strangers()).ok()?;
        let place = usize::try_from(number.checked_rem(count)?).ok()?;
        let slot = *self.strangers.slots.get(place)?;
        let (at_auth, since) = match self.occupants.get(slot)?.as_ref()? {
            Occupant::Caller(caller) => (false, caller.accepted),
            Occupant::Conn(conn) => (conn.is_at_auth(), conn.accepted),
        };
        Some(Stranger {
            at_auth,
            since,
            slot,
        })
    }
}

/// Somebody who has not logged in. In order of who yields first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stranger {
    /// Its password is being looked at.
    at_auth: bool,
    /// When it came.
    pub(crate) since: Instant,
    /// Its slot.
    pub(crate) slot: usize,
}

/// A set of slots from which one can be drawn by number, in which one can be found, and from which it can be taken, each at
/// once.
#[derive(Debug, Default)]
struct Strangers {
    slots: Vec<usize>,
    /// By slot: its place in `slots`, from 1; 0 where it is not in it.
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
