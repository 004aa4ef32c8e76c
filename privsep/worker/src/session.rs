//! One session: it answers requests and marks deletions. Only QUIT deletes (promise P7).

mod retrieve;

use crate::index::{self, Found, How, Seen};
use crate::naming::Naming;
use crate::outgoing::{Outgoing, prove};
use crate::transport::{Stop, Transport, send};
use popward_mbox::convert::Converter;
use popward_mbox::index::Identity;
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::plan::{self, Plan};
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::codec::DATA_LIMIT;
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

/// What a session begins with.
pub struct Opened {
    /// The locked spool. `None`: there is none, and the maildrop is empty.
    pub spool: Option<LockedSpool>,
    /// The user's state directory.
    pub state: Option<State>,
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

/// What QUIT has done.
pub struct Done {
    /// What the client is told.
    pub update: Update,
    /// Whether the pins and the new index were written and the journal was put away, after the
    /// answer.
    pub put_away: io::Result<()>,
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
                spool: opened.spool,
            },
            state: opened.state,
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

    /// Writes the index of the messages that are left after an update.
    fn keep_left(&mut self) -> io::Result<()> {
        let (Some(spool), Some(state)) = (&mut self.transport.spool, &self.state) else {
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
    pub fn serve(&mut self) -> Result<Done, Stop> {
        let mut packets = PacketBuffer::for_messages();
        loop {
            match self.request(&mut packets)? {
                FrontToWorker::Quit => {
                    self.transport.ends.front.enter(WorkerPhase::Update);
                    return self.update().map_err(Stop::NotUpdated);
                }
                FrontToWorker::Stat => self.answer_totals()?,
                FrontToWorker::Rset => {
                    self.deleted.fill(false);
                    self.answer_totals()?;
                }
                FrontToWorker::OfAll(OfAll::Sizes) => self.listing(|message, out| {
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "{}", message.octets);
                })?,
                FrontToWorker::OfAll(OfAll::UniqueIds) => self.listing(uidl::write)?,
                FrontToWorker::OfOne(number, what) => self.of_one(number, what)?,
            }
        }
    }

    fn answer_totals(&mut self) -> Result<(), Stop> {
        let totals = self.totals();
        self.transport.answer(&WorkerToFront::Totals(totals))
    }

    /// Answers a request about one message.
    fn of_one(&mut self, number: MessageNumber, what: OfOne) -> Result<(), Stop> {
        let index = match self.find(number) {
            Ok(index) => index,
            Err(refusal) => return self.transport.answer(&WorkerToFront::Refused(refusal)),
        };
        let message = &self.maildrop.messages[index];
        let octets = message.octets;
        let answer = match what {
            OfOne::Size => WorkerToFront::Size(number, octets),
            OfOne::UniqueId => {
                let id = Text::truncated(&uidl::name(message));
                WorkerToFront::Unique(number, id)
            }
            OfOne::Whole => return self.retrieve(number, index),
            OfOne::Top(lines) => return self.body(index, Converter::top(lines)),
            OfOne::Delete => {
                self.deleted[index] = true;
                // A message that is checked now need not be checked at QUIT. If this check fails,
                // the check at QUIT reports it.
                let _ = self.prove(index);
                WorkerToFront::Deleted(number, octets)
            }
        };
        self.transport.answer(&answer)
    }

    /// The next request.
    fn request(&mut self, packets: &mut PacketBuffer) -> Result<FrontToWorker, Stop> {
        // A client can send requests without a pause, such as STAT, that do not read the spool. So
        // the dotlock is refreshed here, and not only by reads.
        if let Some(spool) = &mut self.transport.spool {
            spool.refresh()?;
        }
        let request = loop {
            if let Some(request) = self.transport.pending(packets)? {
                break request;
            }
            if !self.look_ahead()? {
                self.transport.wait()?;
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
    fn listing(&mut self, line: impl Fn(&Message, &mut Vec<u8>)) -> Result<(), Stop> {
        // The first packet announces the listing.
        let mut announced = Some(WorkerToFront::Listing(self.totals()));
        self.packet.clear();
        let all = self.maildrop.messages.iter().zip(&self.deleted);
        for (number, (message, deleted)) in (1_usize..).zip(all.skip(self.hidden)) {
            if *deleted {
                continue;
            }
            if self.packet.len() + LINE_MAX > DATA_LIMIT {
                let first = announced.take();
                self.transport
                    .send_data(first.as_ref(), &self.packet, false)?;
                self.packet.clear();
            }
            // Writing to a vector cannot fail.
            let _ = write!(self.packet, "{number} ");
            line(message, &mut self.packet);
            self.packet.extend_from_slice(b"\r\n");
        }
        self.transport
            .send_data(announced.as_ref(), &self.packet, true)
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
            let mut spool = Reading(self.transport.spool()?);
            prove(&mut spool, message, self.maildrop.length)?;
            self.proved[index] = true;
        }
        Ok(())
    }

    /// Deletes the marked messages, and answers QUIT once that is done.
    fn update(&mut self) -> Result<Done, UpdateError> {
        let update = Update {
            deleted: self.sum(true),
            left: self.totals(),
        };
        let Some(plan) = Plan::new(&self.maildrop, &self.deleted) else {
            self.end(&WorkerToFront::Committed(update));
            let put_away = Ok(());
            return Ok(Done { update, put_away });
        };
        let seen = self.prove_plan(&plan)?;
        let pins = self.naming.pins_left(&self.maildrop, &self.deleted);
        let Transport { ends, spool } = &mut self.transport;
        let commit = Commit {
            spool: spool.as_mut().ok_or(UpdateError::NoState)?,
            state: self.state.as_ref(),
            plan: &plan,
            seen,
            pins: pins.as_ref(),
        };
        // If the message is lost and this process dies, the next opening finishes the update.
        let begins = || {
            let _ = ends.monitor.send(&WorkerToMonitor::Updates);
        };
        // The front may have gone. The deletions stay done.
        let committed = || {
            let _ = send(ends, None, |front| {
                front.send(&WorkerToFront::Committed(update))
            });
        };
        let put_away = commit.run(begins, committed)?;
        let put_away = put_away.and_then(|()| self.keep_left());
        Ok(Done { update, put_away })
    }

    /// Checks each message that an update of this plan deletes or moves. Returns the spool's
    /// numbers from before the checks.
    fn prove_plan(&mut self, plan: &Plan) -> Result<Identity, UpdateError> {
        let spool = self.transport.spool()?;
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
            if moves && !(as_seen && self.proved[index]) {
                self.prove(index)?;
            }
        }
        Ok(now)
    }
}
