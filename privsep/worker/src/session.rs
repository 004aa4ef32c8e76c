//! One session: it answers requests and marks deletions. Only QUIT deletes (promise P7).

mod retrieve;

use crate::index::{self, Seen};
use crate::naming::Naming;
use crate::outgoing::{Outgoing, prove};
use crate::transport::{Stop, Stream, answer, pending, wait};
use nix::poll::PollFlags;
use popward_mbox::index::Identity;
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::plan::{self, Plan};
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::monitor_worker::WorkerToMonitor;
use popward_proto::session::{
    Broken, FrontToWorker, MessageNumber, OfAll, OfOne, Refusal, Totals, Update, WorkerPhase,
    WorkerToFront,
};
use popward_sys::channel::PacketBuffer;
use popward_update::commit::Commit;
use popward_update::error::UpdateError;
use popward_update::keep_reserve;
use popward_update::locks::LockedSpool;
use popward_update::read::Reading;
use popward_update::start::Ends;
use popward_update::state::{INDEX, State};
use std::collections::VecDeque;
use std::io::{self, Write};

/// The longest line of a listing, in bytes: a number, a space, a UIDL and CRLF.
const LINE_MAX: usize = 20 + 1 + uidl::MAX + 2;

/// A maildrop in the TRANSACTION state.
pub struct Session {
    spool: Option<LockedSpool>,
    state: Option<State>,
    maildrop: Maildrop,
    seen: Option<Seen>,
    /// Whether the index told something wrong about a message.
    distrusted: bool,
    naming: Naming,
    /// The indexes of the messages that clients see. Message number `n` is at place `n - 1`.
    visible: Vec<usize>,
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
    /// A buffer for a piece of the spool, and one for a packet.
    piece: Vec<u8>,
    packet: Vec<u8>,
}

/// What QUIT has done.
pub struct Done {
    /// What the client is told.
    pub update: Update,
    /// Whether the pins and the new index were written and the journal was put away, after the
    /// answer.
    pub put_away: io::Result<()>,
}

impl Session {
    /// A session with a maildrop. Messages from `read_from` on were read from the spool itself.
    /// `spool` is `None` if there is none.
    pub fn new(
        spool: Option<LockedSpool>,
        state: Option<State>,
        maildrop: Maildrop,
        seen: Option<Seen>,
        read_from: usize,
        naming: Naming,
    ) -> Self {
        let all = 0..maildrop.messages.len();
        let visible = all.filter(|index| !maildrop.is_hidden(*index)).collect();
        let count = maildrop.messages.len();
        Self {
            spool,
            state,
            maildrop,
            seen,
            distrusted: false,
            naming,
            visible,
            deleted: vec![false; count],
            proved: (0..count).map(|index| index >= read_from).collect(),
            retrieved: None,
            expected: None,
            ahead: VecDeque::new(),
            piece: Vec::new(),
            packet: Vec::new(),
        }
    }

    /// The count and the octets of the messages that are not marked as deleted.
    pub fn totals(&self) -> Totals {
        self.sum(|deleted| !deleted)
    }

    fn sum(&self, wanted: impl Fn(bool) -> bool) -> Totals {
        let all = self.visible.iter();
        let chosen = all.filter(|index| wanted(self.deleted[**index]));
        chosen.fold(Totals::default(), |sum, index| Totals {
            messages: sum.messages + 1,
            octets: sum.octets + self.maildrop.messages[*index].octets,
        })
    }

    fn find(&self, number: MessageNumber) -> Result<usize, Refusal> {
        let place = usize::try_from(number.0.get() - 1).unwrap_or(usize::MAX);
        let index = *self.visible.get(place).ok_or(Refusal::NoSuchMessage)?;
        if self.deleted[index] {
            Err(Refusal::AlreadyDeleted)
        } else {
            Ok(index)
        }
    }

    /// Writes what later sessions need to the state directory: the index if `read` says that the
    /// spool was read, and the journal's reserve. If this fails, the session goes on.
    pub fn keep(&self, read: bool) -> std::io::Result<()> {
        let (Some(seen), Some(state)) = (self.seen, &self.state) else {
            return Ok(());
        };
        if read {
            let settled = seen.settled && !self.distrusted;
            let seen = Seen { settled, ..seen };
            index::keep(state, seen, &self.naming.rules, &self.maildrop)?;
        }
        keep_reserve(state)
    }

    /// Notes that the spool is not what the index says: a mail reader has edited it in place, and
    /// mail came after that. The next session reads all of it, and takes only the UIDLs from the
    /// index.
    pub fn distrust(&mut self) {
        if std::mem::replace(&mut self.distrusted, true) {
            return;
        }
        if let (Err(_), Some(state)) = (self.keep(true), &self.state) {
            let _ = state.remove(INDEX);
        }
    }

    /// Writes the index of the messages that are left after an update.
    fn keep_left(&mut self) -> io::Result<()> {
        let (Some(spool), Some(state)) = (&mut self.spool, &self.state) else {
            return Ok(());
        };
        self.naming.load(Some(state))?;
        let left = plan::left(&self.maildrop, &self.deleted);
        let mut seen = Seen::soon(spool)?;
        // After the deletions, a Content-Length that did not hold before may hold.
        seen.settled &= !self.distrusted && !left.claims.within;
        index::keep(state, seen, &self.naming.rules, &left)
    }

    /// Answers requests until QUIT or a stop. After QUIT, returns what was done.
    pub fn serve(&mut self, ends: &mut Ends) -> Result<Result<Done, UpdateError>, Stop> {
        let mut packets = PacketBuffer::for_messages();
        loop {
            match self.request(ends, &mut packets)? {
                FrontToWorker::Quit => {
                    ends.front.enter(WorkerPhase::Update);
                    return Ok(self.update(ends));
                }
                FrontToWorker::Stat => self.answer(ends, &WorkerToFront::Totals(self.totals()))?,
                FrontToWorker::Rset => {
                    self.deleted.fill(false);
                    self.answer(ends, &WorkerToFront::Totals(self.totals()))?;
                }
                FrontToWorker::OfAll(OfAll::Sizes) => self.listing(ends, |message, out| {
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "{}", message.octets);
                })?,
                FrontToWorker::OfAll(OfAll::UniqueIds) => self.listing(ends, uidl::write)?,
                FrontToWorker::OfOne(number, what) => self.of_one(ends, number, what)?,
            }
        }
    }

    /// Answers a request about one message.
    fn of_one(&mut self, ends: &Ends, number: MessageNumber, what: OfOne) -> Result<(), Stop> {
        let index = match self.find(number) {
            Ok(index) => index,
            Err(refusal) => return self.answer(ends, &WorkerToFront::Refused(refusal)),
        };
        let message = &self.maildrop.messages[index];
        let octets = message.octets;
        match what {
            OfOne::Size => self.answer(ends, &WorkerToFront::Size(number, octets)),
            OfOne::UniqueId => {
                let id = Text::truncated(&uidl::name(message));
                self.answer(ends, &WorkerToFront::Unique(number, id))
            }
            OfOne::Whole => self.retrieve(ends, number, index),
            OfOne::Top(lines) => self.top(ends, index, lines),
            OfOne::Delete => {
                self.deleted[index] = true;
                // A message that is checked now need not be checked at QUIT. If this check fails,
                // the check at QUIT reports it.
                let _ = self.prove(index);
                self.answer(ends, &WorkerToFront::Deleted(number, octets))
            }
        }
    }

    fn answer(&mut self, ends: &Ends, message: &WorkerToFront) -> Result<(), Stop> {
        answer(ends, self.spool.as_mut(), message)
    }

    /// The next request.
    fn request(
        &mut self,
        ends: &mut Ends,
        packets: &mut PacketBuffer,
    ) -> Result<FrontToWorker, Stop> {
        // A client can send requests without a pause, such as STAT, that do not read the spool. So
        // the dotlock is refreshed here, and not only by reads.
        if let Some(spool) = &mut self.spool {
            spool.refresh()?;
        }
        let request = loop {
            if let Some(request) = pending(ends, packets)? {
                break request;
            }
            if !self.look_ahead(ends)? {
                wait(ends, self.spool.as_mut(), PollFlags::POLLIN)?;
            }
        };
        self.expected = None;
        // The front follows the same rule: both drop the packets that went ahead of the requested
        // one.
        let retrieves = request.retrieves();
        let asked = self
            .ahead
            .iter()
            .position(|ahead| retrieves == Some(ahead.0));
        self.ahead.drain(..asked.unwrap_or(self.ahead.len()));
        if retrieves.is_none() {
            self.retrieved = None;
        }
        Ok(request)
    }

    /// Answers with a line for each message. `line` writes what follows the message's number.
    fn listing(&mut self, ends: &Ends, line: impl Fn(&Message, &mut Vec<u8>)) -> Result<(), Stop> {
        let mut stream = Stream::of(WorkerToFront::Listing(self.totals()));
        for (place, index) in self.visible.iter().enumerate() {
            stream.make_room(LINE_MAX, ends, self.spool.as_mut())?;
            if !self.deleted[*index] {
                // Writing to a vector cannot fail.
                let _ = write!(stream.packet, "{} ", place + 1);
                line(&self.maildrop.messages[*index], &mut stream.packet);
                stream.packet.extend_from_slice(b"\r\n");
            }
        }
        stream.send(ends, self.spool.as_mut(), true)
    }

    /// Checks that a message is where it was found. No check is needed if one has been made since
    /// the spool provably last changed.
    fn prove(&mut self, index: usize) -> Result<(), Broken> {
        let Some(spool) = &mut self.spool else {
            return Err(Broken::System);
        };
        if self.proved[index] && self.seen.is_some_and(|seen| seen.holds(spool)) {
            return Ok(());
        }
        let message = &self.maildrop.messages[index];
        prove(&mut Reading(spool), message, self.maildrop.length)?;
        self.proved[index] = true;
        Ok(())
    }

    /// Deletes the marked messages, and answers QUIT once that is done.
    fn update(&mut self, ends: &Ends) -> Result<Done, UpdateError> {
        let update = Update {
            deleted: self.sum(|deleted| deleted),
            left: self.totals(),
        };
        // The front may have gone. The deletions stay done.
        let committed = || {
            let _ = answer(ends, None, &WorkerToFront::Committed(update));
        };
        let Some(plan) = Plan::new(&self.maildrop, &self.deleted) else {
            committed();
            let put_away = Ok(());
            return Ok(Done { update, put_away });
        };
        let seen = self.prove_plan(&plan)?;
        let pins = self.naming.pins_left(&self.maildrop, &self.deleted);
        let Some(spool) = &mut self.spool else {
            return Err(UpdateError::NoState);
        };
        // If the message is lost and this process dies, the next opening finishes the update.
        let begins = || {
            let _ = ends.monitor.send(&WorkerToMonitor::Updates);
        };
        let commit = Commit {
            spool,
            state: self.state.as_ref(),
            plan: &plan,
            seen,
            pins: pins.as_ref(),
        };
        let put_away = commit.run(begins, committed)?;
        let put_away = put_away.and_then(|()| self.keep_left());
        Ok(Done { update, put_away })
    }

    /// Checks each message that an update of this plan deletes or moves. Returns the spool's
    /// numbers from before the checks.
    fn prove_plan(&mut self, plan: &Plan) -> Result<Identity, UpdateError> {
        let spool = self.spool.as_mut().ok_or(UpdateError::NoState)?;
        spool.prove_place()?;
        let now = spool.identity()?;
        if now.length != self.maildrop.length {
            return Err(UpdateError::Changed("the spool is not as long as it was"));
        }
        // Kept messages move in whole ranges. So only each deleted message and the first message of
        // each range need a check.
        let begins = |start: u64| plan.kept.binary_search_by_key(&start, |kept| kept.start);
        let as_seen = self.seen.is_some_and(|seen| seen.holds(spool));
        for index in 0..self.deleted.len() {
            let start = self.maildrop.messages[index].from_line;
            let moves = self.deleted[index] || begins(start).is_ok();
            if !moves || (as_seen && self.proved[index]) {
                continue;
            }
            self.prove(index).map_err(|broken| match broken {
                Broken::SpoolChanged => UpdateError::Changed("a message is not where it was"),
                Broken::LockLost => UpdateError::LockLost,
                Broken::System => UpdateError::System(io::Error::other("the spool cannot be read")),
            })?;
        }
        Ok(now)
    }
}
