//! One session: requests in, answers and streams out, deletions marked. Only QUIT deletes (promise P7).

mod retrieve;

use crate::index::{self, INDEX, Seen};
use crate::journal::Journal;
use crate::locks::{LockedSpool, Lost};
use crate::naming::Naming;
use crate::outgoing::{Outgoing, prove};
use crate::read::Reading;
use crate::state::State;
use crate::update::{UpdateError, update};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::plan::{self, Plan};
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::codec::DATA_LIMIT;
use popward_proto::monitor_worker::{MonitorToWorker, WorkerToMonitor};
use popward_proto::session::{
    Broken, FrontToWorker, MessageNumber, OfAll, OfOne, Refusal, Totals, Update, WorkerPhase,
    WorkerToFront,
};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The longest line of a listing, in bytes: a number, a UIDL.
const LINE_MAX: usize = 20 + 1 + uidl::MAX + 2;

/// The session's socket.
pub type ToFront = Channel<WorkerToFront, FrontToWorker>;
/// The channel to the monitor.
pub type ToMonitor = Channel<WorkerToMonitor, MonitorToWorker>;

/// Why a session ends other than by QUIT. None of these changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The front closed the session's socket.
    FrontGone,
    /// The monitor closed its channel: the server ends.
    MonitorGone,
    /// The front broke the rules of the channel.
    Rules(ChannelError),
    /// It cannot go on.
    Broken(Broken),
}

impl From<Lost> for Stop {
    fn from(_: Lost) -> Self {
        Self::Broken(Broken::LockLost)
    }
}

/// The two ends that a worker listens to.
pub struct Ends {
    /// The session.
    pub front: ToFront,
    /// The monitor.
    pub monitor: ToMonitor,
}

impl Ends {
    /// Waits until the front's socket is ready for `events`, and refreshes the dotlock of `spool` meanwhile.
    fn wait(&self, mut spool: Option<&mut LockedSpool>, events: PollFlags) -> Result<(), Stop> {
        loop {
            let due = spool.as_ref().map(|spool| spool.due());
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
            // A millisecond more than what is left of the last one, so that it is not waited for again and again.
            let timeout = due.map_or(PollTimeout::NONE, |due| {
                let due = due + Duration::from_millis(1);
                PollTimeout::try_from(due).unwrap_or(PollTimeout::from(1000u16))
            });
            let mut ready = [
                PollFd::new(self.front.as_fd(), events),
                PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return Err(Stop::Broken(Broken::System)),
            }
            // The monitor has nothing more to say: what comes is its end.
            if ready[1].any() == Some(true) {
                return Err(Stop::MonitorGone);
            }
            if ready[0].any() == Some(true) {
                return Ok(());
            }
            if let Some(spool) = spool.as_deref_mut() {
                spool.refresh()?;
            }
        }
    }

    /// Whether either end has hung up, without waiting: for the time before the locks are taken.
    pub fn gone(&self) -> bool {
        let mut ready = [
            PollFd::new(self.front.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut ready, PollTimeout::ZERO);
        ready.iter().any(|end| end.any() == Some(true))
    }

    fn send(
        &self,
        mut spool: Option<&mut LockedSpool>,
        send: impl Fn(&ToFront) -> Result<(), ChannelError>,
    ) -> Result<(), Stop> {
        loop {
            match send(&self.front) {
                Ok(()) => return Ok(()),
                Err(ChannelError::WouldBlock) => {
                    self.wait(spool.as_deref_mut(), PollFlags::POLLOUT)?;
                }
                Err(ChannelError::Closed) => return Err(Stop::FrontGone),
                Err(error) => return Err(Stop::Rules(error)),
            }
        }
    }

    /// Sends `answer`.
    pub fn answer(
        &self,
        spool: Option<&mut LockedSpool>,
        answer: &WorkerToFront,
    ) -> Result<(), Stop> {
        self.send(spool, |front| front.send(answer))
    }

    /// A request, if one is waiting.
    fn pending(&mut self, buffer: &mut PacketBuffer) -> Result<Option<FrontToWorker>, Stop> {
        match self.front.receive(buffer) {
            Ok(Packet::Message(request, _)) => Ok(Some(request)),
            Ok(Packet::Data { .. }) => Err(Stop::Rules(ChannelError::UnknownTag(1))),
            Err(ChannelError::WouldBlock) => Ok(None),
            Err(ChannelError::Closed) => Err(Stop::FrontGone),
            Err(error) => Err(Stop::Rules(error)),
        }
    }
}

/// Data on their way, whose first packet goes with what announces them.
struct Stream {
    announced: Option<WorkerToFront>,
    packet: Vec<u8>,
}

impl Stream {
    fn of(announced: WorkerToFront) -> Self {
        Self {
            announced: Some(announced),
            packet: Vec::with_capacity(4096),
        }
    }

    /// Sends what there is, if so many bytes more would be more than a packet's.
    fn make_room(
        &mut self,
        bytes: usize,
        ends: &Ends,
        spool: Option<&mut LockedSpool>,
    ) -> Result<(), Stop> {
        if self.packet.len() + bytes <= DATA_LIMIT {
            return Ok(());
        }
        self.send(ends, spool, false)
    }

    fn send(
        &mut self,
        ends: &Ends,
        spool: Option<&mut LockedSpool>,
        last: bool,
    ) -> Result<(), Stop> {
        let announced = self.announced.take();
        ends.send(spool, |front| {
            front.send_data(announced.as_ref(), &self.packet, last)
        })?;
        self.packet.clear();
        Ok(())
    }
}

/// A maildrop in the TRANSACTION state.
pub struct Session {
    spool: Option<LockedSpool>,
    state: Option<State>,
    maildrop: Maildrop,
    seen: Option<Seen>,
    /// Something that is told of a message is wrong, as an index said it.
    distrusted: bool,
    naming: Naming,
    /// Indexes of the messages that are shown: message number less 1 is the place in here.
    visible: Vec<usize>,
    deleted: Vec<bool>,
    /// Which were found where they are, in the spool itself, while it was as `seen`: not those of which an index says so.
    proved: Vec<bool>,
    /// What the last request retrieved, if it was RETR.
    retrieved: Option<MessageNumber>,
    /// What the client will ask for next, as far as one can tell.
    expected: Option<MessageNumber>,
    /// What was sent ahead, in order: their numbers, and what is left to be sent of the last one.
    ahead: VecDeque<(MessageNumber, Option<Outgoing>)>,
    /// Room for a piece of the spool, and for a packet.
    piece: Vec<u8>,
    packet: Vec<u8>,
}

/// What QUIT has done.
pub struct Done {
    /// What is answered.
    pub update: Update,
    /// Whether the spool was changed.
    pub changed: bool,
    /// To be ended once it was answered.
    pub journal: Option<Journal>,
}

impl Session {
    /// A session over what was read, the messages from `read_from` on in the spool itself. `spool` is `None` where there is none.
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

    /// What is shown: all that is not marked as deleted.
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

    /// Has what later sessions need in the state directory: the index, if `read` (it is not there yet), and room for a
    /// journal. The session goes on without.
    pub fn keep(&self, read: bool) -> std::io::Result<()> {
        let (Some(seen), Some(state)) = (self.seen, &self.state) else {
            return Ok(());
        };
        if read {
            let settled = seen.settled && !self.distrusted;
            let seen = Seen { settled, ..seen };
            index::keep(state, seen, &self.naming.rules, &self.maildrop)?;
        }
        Journal::keep_reserve(state)
    }

    /// The spool is not what the index says: a reader has edited it in place, and mail came. The next session reads all of it;
    /// of the index it has the names.
    pub fn distrust(&mut self) {
        if std::mem::replace(&mut self.distrusted, true) {
            return;
        }
        if let (Err(_), Some(state)) = (self.keep(true), &self.state) {
            let _ = state.remove(INDEX);
        }
    }

    /// After an update: puts its pins and its journal where they belong, and writes the index of what it has left.
    pub fn keep_left(&mut self, journal: Option<&Journal>) -> std::io::Result<()> {
        let (Some(spool), Some(state)) = (&mut self.spool, &self.state) else {
            return Ok(());
        };
        self.naming.put(state)?;
        if let Some(journal) = journal {
            journal.end();
        }
        let left = plan::left(&self.maildrop, &self.deleted);
        let mut seen = Seen::soon(spool)?;
        // A Content-Length that did not hold may hold now.
        seen.settled &= !self.distrusted && !left.claims.within;
        index::keep(state, seen, &self.naming.rules, &left)
    }

    /// Answers requests until QUIT or a stop. After QUIT, says what was done.
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
                // A message that is proved now need not be proved at QUIT. A failure shows at QUIT.
                let _ = self.prove(index);
                self.answer(ends, &WorkerToFront::Deleted(number, octets))
            }
        }
    }

    fn answer(&mut self, ends: &Ends, answer: &WorkerToFront) -> Result<(), Stop> {
        ends.answer(self.spool.as_mut(), answer)
    }

    /// The next request.
    fn request(
        &mut self,
        ends: &mut Ends,
        packets: &mut PacketBuffer,
    ) -> Result<FrontToWorker, Stop> {
        // There may be requests without a pause, none of which reads anything of the spool.
        if let Some(spool) = &mut self.spool {
            spool.refresh()?;
        }
        let request = loop {
            if let Some(request) = ends.pending(packets)? {
                break request;
            }
            if !self.look_ahead(ends)? {
                ends.wait(self.spool.as_mut(), PollFlags::POLLIN)?;
            }
        };
        self.expected = None;
        // The front goes by the same rule: what went ahead of what it asks for is thrown away.
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

    /// `line` writes of a message what follows its number.
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

    /// Makes sure that a message is where it was found: by a look at it, unless there was one while the spool was what it
    /// is proved still to be.
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

    fn update(&mut self, ends: &Ends) -> Result<Done, UpdateError> {
        let mut done = Done {
            update: Update {
                deleted: self.sum(|deleted| deleted),
                left: self.totals(),
            },
            changed: false,
            journal: None,
        };
        let (Some(plan), Some(spool)) = (Plan::new(&self.maildrop, &self.deleted), &mut self.spool)
        else {
            return Ok(done);
        };
        spool.prove_place()?;
        let now = spool.identity()?;
        if now.length != self.maildrop.length {
            return Err(UpdateError::Changed("the spool is not as long as it was"));
        }
        if let Some(state) = &self.state {
            self.naming.prepare(state, &self.maildrop, &self.deleted);
        }
        // What is kept moves in whole ranges: where these and what is deleted begin decides, not what is within.
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
                Broken::System => {
                    UpdateError::System(std::io::Error::other("the spool cannot be read"))
                }
            })?;
        }
        let Some(spool) = &mut self.spool else {
            return Ok(done);
        };
        // Without the monitor nobody would finish it at once; the next opening would.
        let begins = || {
            let _ = ends.monitor.send(&WorkerToMonitor::Updates);
        };
        done.journal = update(spool, self.state.as_ref(), &plan, now, begins)?;
        done.changed = true;
        Ok(done)
    }
}
