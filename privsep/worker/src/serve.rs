//! One session: requests in, answers and streams out, deletions marked. Only QUIT deletes (promise P7).

mod extensions;
mod retrieve;

use crate::bulletins::Bulletins;
use crate::index::{self, INDEX, Seen};
use crate::journal::Journal;
use crate::locks::{LockedSpool, Lost, Retaken, pause};
use crate::naming::Naming;
use crate::outgoing::{Outgoing, prove};
use crate::read::Reading;
use crate::state::State;
use crate::update::{UpdateError, update};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_mbox::message::{Maildrop, Message};
use popward_mbox::plan::{self, Plan};
use popward_mbox::scan::ScanError;
use popward_mbox::uidl;
use popward_proto::bounded::Text;
use popward_proto::codec::DATA_LIMIT;
use popward_proto::monitor_worker::{Job, MonitorToWorker, WorkerToMonitor};
use popward_proto::session::{
    Broken, FrontToWorker, MessageNumber, Refusal, Totals, Update, WorkerPhase, WorkerToFront,
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
    /// Waits until the front's socket is ready for `events`, keeping `spool`'s locks fresh. Returns whether it is: `until`
    /// may come first.
    fn wait(
        &self,
        spool: Option<&mut LockedSpool>,
        events: PollFlags,
        until: Option<Instant>,
    ) -> Result<bool, Stop> {
        let mut spool = spool;
        loop {
            let due = spool.as_ref().map(|spool| spool.due());
            let due = due.into_iter().chain(until).min();
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
                return Ok(true);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
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

    /// At every 64th of many places: whether it is still worth going on. What finds nothing sends nothing, and would hold the
    /// locks for a client that has gone.
    fn somebody_waits(&self, place: usize) -> Result<(), Stop> {
        if place % 64 == 0 && self.hung_up() {
            return Err(Stop::FrontGone);
        }
        Ok(())
    }

    /// Whether the front's end is closed, without waiting. There may be a request in it as well.
    fn hung_up(&self) -> bool {
        let mut ready = [PollFd::new(self.front.as_fd(), PollFlags::empty())];
        let _ = poll(&mut ready, PollTimeout::ZERO);
        ready[0].any() == Some(true)
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
                    self.wait(spool.as_deref_mut(), PollFlags::POLLOUT, None)?;
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
    /// So many messages have names: those behind them came while the locks were given up.
    named: usize,
    last: u32,
    /// What LAST was before this session, once that was asked for.
    before: Option<u32>,
    /// What is shown behind the spool's messages.
    pub bulletins: Bulletins,
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
    /// Why what is to be kept of bulletins is not; the spool's update is done all the same.
    pub not_kept: Option<std::io::Error>,
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
        let named = maildrop.messages.len();
        let deleted = vec![false; named];
        Self {
            spool,
            state,
            maildrop,
            seen,
            distrusted: false,
            naming,
            visible,
            deleted,
            proved: (0..named).map(|index| index >= read_from).collect(),
            named,
            last: 0,
            before: None,
            bulletins: Bulletins::default(),
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
        let mail = self
            .visible
            .iter()
            .map(|index| (self.deleted[*index], &self.maildrop.messages[*index]));
        let bulletins = self.bulletins.list.iter();
        let all = mail.chain(bulletins.map(|bulletin| (bulletin.deleted, &bulletin.message)));
        let chosen = all.filter(|(deleted, _)| wanted(*deleted));
        chosen.fold(Totals::default(), |sum, (_, message)| Totals {
            messages: sum.messages + 1,
            octets: sum.octets + message.octets,
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
        let kept = self.maildrop.messages.len() == self.named && self.keep(true).is_ok();
        if let (false, Some(state)) = (kept, &self.state) {
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
        if self.maildrop.messages.len() > self.named {
            return Ok(());
        }
        let left = plan::left(&self.maildrop, &self.deleted);
        let mut seen = Seen::soon(spool)?;
        seen.settled &= !self.distrusted;
        index::keep(state, seen, &self.naming.rules, &left)
    }

    /// Serves until QUIT or a stop. After QUIT, says what was done.
    pub fn serve(&mut self, job: &Job, ends: &mut Ends) -> Result<Result<Done, UpdateError>, Stop> {
        let mut packets = PacketBuffer::for_messages();
        loop {
            self.wait_idle(job, ends)?;
            let request = self.request(ends, &mut packets)?;
            if self.extended(ends, &request)? {
                continue;
            }
            let about = match request {
                FrontToWorker::List(Some(n))
                | FrontToWorker::Uidl(Some(n))
                | FrontToWorker::Retr(n)
                | FrontToWorker::Top(n, _)
                | FrontToWorker::Dele(n) => Some((n, self.find(n))),
                _ => None,
            };
            if let Some((_, Err(refusal))) = about {
                ends.answer(self.spool.as_mut(), &WorkerToFront::Refused(refusal))?;
                continue;
            }
            let answer = match (request, about) {
                (FrontToWorker::List(Some(n)), Some((_, Ok(index)))) => {
                    WorkerToFront::Size(n, self.maildrop.messages[index].octets)
                }
                (FrontToWorker::Uidl(Some(n)), Some((_, Ok(index)))) => {
                    let name = uidl::name(&self.maildrop.messages[index]);
                    WorkerToFront::Unique(n, Text::truncated(&name))
                }
                (FrontToWorker::Retr(n), Some((_, Ok(index)))) => {
                    self.retrieve(ends, n, index)?;
                    continue;
                }
                (FrontToWorker::Top(_, lines), Some((_, Ok(index)))) => {
                    self.top(ends, index, lines)?;
                    continue;
                }
                (FrontToWorker::Dele(n), Some((_, Ok(index)))) => {
                    self.deleted[index] = true;
                    // What is looked at now need not be at QUIT. Should it not be there, that is what QUIT says.
                    let _ = self.prove(index);
                    WorkerToFront::Deleted(n, self.maildrop.messages[index].octets)
                }
                (FrontToWorker::List(_), _) => {
                    self.listing(ends, |message, out| {
                        let _ = write!(out, "{}", message.octets);
                    })?;
                    continue;
                }
                (FrontToWorker::Uidl(_), _) => {
                    self.listing(ends, uidl::write)?;
                    continue;
                }
                (FrontToWorker::Rset, _) => {
                    self.deleted.fill(false);
                    self.bulletins.reset();
                    self.last = 0;
                    WorkerToFront::Totals(self.totals())
                }
                (FrontToWorker::Quit, _) => {
                    ends.front.enter(WorkerPhase::Update);
                    return Ok(self.update(ends));
                }
                _ => WorkerToFront::Totals(self.totals()),
            };
            ends.answer(self.spool.as_mut(), &answer)?;
        }
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
                ends.wait(self.spool.as_mut(), PollFlags::POLLIN, None)?;
            }
        };
        self.expected = None;
        // The front goes by the same rule: what went ahead of what it asks for is thrown away.
        let asked = |ahead: &(MessageNumber, _)| request == FrontToWorker::Retr(ahead.0);
        let asked = self.ahead.iter().position(asked);
        self.ahead.drain(..asked.unwrap_or(self.ahead.len()));
        if !matches!(request, FrontToWorker::Retr(_)) {
            self.retrieved = None;
        }
        Ok(request)
    }

    /// Waits for a request: where that is configured and the client is silent for so long, without the locks.
    fn wait_idle(&mut self, job: &Job, ends: &Ends) -> Result<(), Stop> {
        let Some(silence) = job.locks.yield_ms.filter(|_| self.spool.is_some()) else {
            return Ok(());
        };
        let until = Instant::now() + Duration::from_millis(silence.into());
        if ends.wait(self.spool.as_mut(), PollFlags::POLLIN, Some(until))? {
            return Ok(());
        }
        let Some(spool) = self.spool.take() else {
            return Ok(());
        };
        let mut yielded = spool.yield_locks()?;
        ends.wait(None, PollFlags::POLLIN, None)?;
        let patience = Duration::from_millis(job.locks.timeout_ms.into());
        let until = Instant::now() + patience;
        let mut spool = loop {
            match yielded.retake(job) {
                Ok(Retaken::Locked(spool)) => break spool,
                Ok(Retaken::Busy(none)) if Instant::now() < until => yielded = none,
                _ => return Err(Stop::Broken(Broken::LockLost)),
            }
            std::thread::sleep(pause());
            if ends.hung_up() {
                return Err(Stop::FrontGone);
            }
        };
        let same = self.is_as_it_was(&mut spool);
        self.spool = Some(spool);
        match same {
            Ok(true) => Ok(()),
            Ok(false) | Err(ScanError::NotMbox | ScanError::Truncated { .. }) => {
                Err(Stop::Broken(Broken::SpoolChanged))
            }
            Err(_) => Err(Stop::Broken(Broken::System)),
        }
    }

    /// Whether others have at most appended to the spool while they could. What came is not shown in this session, and kept.
    fn is_as_it_was(&mut self, spool: &mut LockedSpool) -> Result<bool, ScanError<std::io::Error>> {
        // Another session, or a migration, may have been here: its pins, or what it did not finish.
        if let Some(state) = &self.state {
            let foreign = Journal::open(state).map_err(ScanError::Source)?.is_some();
            if foreign || self.naming.reload(state).map_err(ScanError::Source)? {
                return Ok(false);
            }
        }
        if self.seen.is_some_and(|seen| seen.holds(spool)) {
            return Ok(true);
        }
        let (now, seen) = index::read_all(spool, self.naming.hide)?;
        let equal = |(old, new): (&Message, &Message)| {
            let names_aside = Message {
                name: old.name.clone(),
                ..new.clone()
            };
            *old == names_aside
        };
        let old = &self.maildrop.messages;
        if now.messages.len() < old.len() || !old.iter().zip(&now.messages).all(equal) {
            return Ok(false);
        }
        let came = now.messages.into_iter().skip(old.len());
        self.maildrop.messages.extend(came);
        self.deleted.resize(self.maildrop.messages.len(), false);
        self.proved = vec![true; self.maildrop.messages.len()];
        self.maildrop.length = now.length;
        self.seen = Some(seen);
        Ok(true)
    }

    /// `line` writes of a message what follows its number.
    fn listing(&mut self, ends: &Ends, line: impl Fn(&Message, &mut Vec<u8>)) -> Result<(), Stop> {
        let mut stream = Stream::of(WorkerToFront::Listing(self.totals()));
        for place in 0..self.count() {
            stream.make_room(LINE_MAX, ends, self.spool.as_mut())?;
            if let Some(message) = self.item(place).and_then(|item| self.shown(item)) {
                // Writing to a vector cannot fail.
                let _ = write!(stream.packet, "{} ", place + 1);
                line(message, &mut stream.packet);
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
            not_kept: None,
        };
        let (Some(plan), Some(spool)) = (Plan::new(&self.maildrop, &self.deleted), &mut self.spool)
        else {
            done.not_kept = self.bulletins.put().err();
            return Ok(done);
        };
        spool.prove_place()?;
        let now = spool.identity()?;
        if now.length != self.maildrop.length {
            return Err(UpdateError::Changed("the spool is not as long as it was"));
        }
        if let Some(state) = &self.state {
            let deleted = &self.deleted[..self.named];
            self.naming.prepare(state, &self.maildrop, deleted);
        }
        self.bulletins.prepare();
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
        done.not_kept = self.bulletins.put().err();
        Ok(done)
    }
}
