//! The connections, by slot (the event loop's token) and by session (the other processes' name for one).

use crate::conn::Conn;
use popward_proto::account::{FrontId, SessionId};
use std::collections::HashMap;

/// A connection: its slot, and the count that tells it from others that had the slot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle {
    /// Its place in the table.
    pub(crate) slot: usize,
    /// Its number among all connections of this front.
    pub(crate) count: u32,
}

/// The table of connections.
pub(crate) struct Slots {
    front: FrontId,
    conns: Vec<Option<Box<Conn>>>,
    free: Vec<usize>,
    /// Slots that came free while events are being worked off: one of those may still mean the old connection.
    freed: Vec<usize>,
    sessions: HashMap<SessionId, usize>,
    count: u32,
}

impl Slots {
    /// An empty table of `front`.
    pub(crate) fn new(front: FrontId) -> Self {
        Self {
            front,
            conns: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            sessions: HashMap::new(),
            count: 0,
        }
    }

    /// Names the next connection. Its slot stays reserved until [`Slots::put`] or [`Slots::take`].
    pub(crate) fn reserve(&mut self) -> (Handle, SessionId) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        self.count = self.count.wrapping_add(1);
        let handle = Handle {
            slot,
            count: self.count,
        };
        (handle, SessionId::new(self.front, self.count))
    }

    /// Puts a connection into its slot.
    pub(crate) fn put(&mut self, conn: Box<Conn>) {
        let slot = conn.handle.slot;
        self.sessions.insert(conn.id, slot);
        self.conns[slot] = Some(conn);
    }

    /// Takes the connection of a slot out of the table, or gives a reserved slot back.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Box<Conn>> {
        self.freed.push(slot);
        let conn = self.conns[slot].take()?;
        self.sessions.remove(&conn.id);
        Some(conn)
    }

    /// No event of before is outstanding: slots that came free can be used again.
    pub(crate) fn recycle(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// The connection in a slot.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut Conn> {
        self.conns.get_mut(slot)?.as_deref_mut()
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
}
