//! The state of one session: its messages, and which of them are marked as deleted.
//!
//! [`requests`] answers what the front asks, [`retrieve`] sends messages, and [`update`] deletes at
//! QUIT, and only there (promise P7).

mod requests;
mod retrieve;
mod update;

use crate::index::{self, Found, How, Seen};
use crate::naming::Naming;
use crate::outgoing::{Outgoing, prove};
use crate::transport::{Stop, Transport, send};
use popward_mbox::message::Maildrop;
use popward_mbox::scan::BUFFER_MIN;
use popward_mbox::window::Window;
use popward_proto::session::{Broken, MessageNumber, Refusal, Totals, WorkerPhase, WorkerToFront};
use popward_update::error::UpdateError;
use popward_update::keep_reserve;
use popward_update::start::{Ends, Started};
use popward_update::state::{INDEX, State};
use std::collections::VecDeque;
use std::io;

/// What a session begins with.
pub struct Opened {
    /// The spool and the state directory. If there is no spool, the maildrop is empty.
    pub started: Started,
    /// How messages are named and shown.
    pub naming: Naming,
    /// The messages of the spool.
    pub found: Option<Found>,
}

/// A maildrop in the TRANSACTION state.
pub struct Session {
    transport: Transport,
    state: Option<State>,
    maildrop: Maildrop,
    /// How many messages at the start clients do not see. Message number 1 comes behind them.
    hidden: usize,
    seen: Option<Seen>,
    /// Whether the spool was read, so that the index must be written.
    was_read: bool,
    /// Whether the index told something wrong about a message.
    distrusted: bool,
    naming: Naming,
    deleted: Vec<bool>,
    /// Which messages were found at their place in the spool itself, while the spool was as `seen`.
    /// What only an index says does not count.
    proved: Vec<bool>,
    /// The message that the last request retrieved, if it was RETR.
    retrieved: Option<MessageNumber>,
    /// The message that the client will probably ask for next.
    expected: Option<MessageNumber>,
    /// The messages of which a first packet was sent ahead, in order. Only the last one can have a
    /// rest that is still to be sent.
    ahead: VecDeque<(MessageNumber, Option<Outgoing>)>,
    /// A buffer for a packet.
    packet: Vec<u8>,
}

impl Session {
    /// A session with the maildrop that was `opened`.
    pub fn new(ends: Ends, opened: Opened) -> Self {
        let was_read = opened
            .found
            .as_ref()
            .is_some_and(|f| f.how != How::Unchanged);
        let (maildrop, seen, read_from) = match opened.found {
            Some(found) => (found.maildrop, Some(found.seen), found.read_from),
            None => (Maildrop::default(), None, 0),
        };
        let count = maildrop.messages.len();
        Self {
            transport: Transport {
                ends,
                spool: opened.started.spool,
            },
            state: opened.started.state,
            hidden: usize::from(maildrop.is_hidden(0)),
            maildrop,
            seen,
            was_read,
            distrusted: false,
            naming: opened.naming,
            deleted: vec![false; count],
            proved: (0..count).map(|index| index >= read_from).collect(),
            retrieved: None,
            expected: None,
            ahead: VecDeque::new(),
            packet: Vec::new(),
        }
    }

    /// The count and the octets of the messages that are not marked as deleted.
    fn totals(&self) -> Totals {
        self.sum(false)
    }

    /// The count and the octets of the messages that are marked as deleted, or of the others.
    fn sum(&self, deleted: bool) -> Totals {
        let all = self.maildrop.messages.iter().zip(&self.deleted);
        let chosen = all.skip(self.hidden).filter(|(_, gone)| **gone == deleted);
        chosen.fold(Totals::default(), |sum, (message, _)| Totals {
            messages: sum.messages + 1,
            octets: sum.octets + message.octets,
        })
    }

    fn find(&self, number: MessageNumber) -> Result<usize, Refusal> {
        let place = usize::try_from(number.0.get() - 1).unwrap_or(usize::MAX);
        let index = place.saturating_add(self.hidden);
        match self.deleted.get(index) {
            None => Err(Refusal::NoSuchMessage),
            Some(true) => Err(Refusal::AlreadyDeleted),
            Some(false) => Ok(index),
        }
    }

    /// Tells the front that the maildrop is open.
    pub fn open(&mut self) -> Result<(), Stop> {
        self.transport.ends.front.enter(WorkerPhase::Transaction);
        let totals = self.totals();
        self.transport.answer(&WorkerToFront::Opened(totals))
    }

    /// What the front is told of an error. The index is not trusted any more if the spool has
    /// changed.
    pub fn broken(&mut self, error: &UpdateError) -> Broken {
        match error {
            UpdateError::Changed(_) => {
                self.distrust();
                Broken::SpoolChanged
            }
            UpdateError::LockLost => Broken::LockLost,
            _ => Broken::System,
        }
    }

    /// Tells the front why the session ends. The front may have gone.
    pub fn end(&mut self, why: &WorkerToFront) {
        let _ = send(&self.transport.ends, None, |front| front.send(why));
    }

    /// Writes what later sessions need to the state directory: the index if the spool was read, and
    /// the journal's reserve. If this fails, the session goes on.
    pub fn keep_opened(&self) -> io::Result<()> {
        if self.was_read {
            self.keep()?;
        }
        match (self.seen, &self.state) {
            (Some(_), Some(state)) => keep_reserve(state),
            _ => Ok(()),
        }
    }

    /// Writes the index of the messages as they were found.
    fn keep(&self) -> io::Result<()> {
        let (Some(seen), Some(state)) = (self.seen, &self.state) else {
            return Ok(());
        };
        let settled = seen.settled && !self.distrusted;
        let seen = Seen { settled, ..seen };
        index::keep(state, seen, &self.naming.rules, &self.maildrop)
    }

    /// Notes that the spool is not what the index says: a mail reader has edited it in place, and
    /// mail came after that. The next session reads all of it, and takes only the UIDLs from the
    /// index.
    fn distrust(&mut self) {
        if std::mem::replace(&mut self.distrusted, true) {
            return;
        }
        if let (Err(_), Some(state)) = (self.keep(), &self.state) {
            let _ = state.remove(INDEX);
        }
    }

    /// Whether the message is proved to be where it was found: by a check, and because the spool
    /// provably has not changed since.
    fn is_proved(&self, index: usize) -> bool {
        let proof = (self.proved[index], self.seen, &self.transport.spool);
        matches!(proof, (true, Some(seen), Some(spool)) if seen.holds(spool))
    }

    /// Checks that a message is where it was found, unless that is proved already.
    fn prove(&mut self, index: usize) -> Result<(), UpdateError> {
        if !self.is_proved(index) {
            let message = &self.maildrop.messages[index];
            let (mut buffer, length) = ([0; BUFFER_MIN], self.maildrop.length);
            let spool = self.transport.spool()?;
            prove(&mut Window::new(spool, length, &mut buffer), message)?;
            self.proved[index] = true;
        }
        Ok(())
    }
}
