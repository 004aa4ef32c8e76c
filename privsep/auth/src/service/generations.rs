//! The auth that takes over from this one, and the one from which this one takes over.

use crate::login::Undecided;
use crate::policy::attempts::Guess;
use popward_proto::auth_handover::{AuthToSuccessor, ENTRIES_MAX, HandoverPhase, SuccessorToAuth};
use popward_proto::bounded::{List, UserName};
use popward_sys::channel::Channel;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long fronts may take to change to the new auth. A front that takes longer is ended.
const LEAVE: Duration = Duration::from_secs(5);

/// How long the new auth waits for what the old one remembers.
const PATIENCE: Duration = Duration::from_secs(10);

/// The auth that takes over.
pub(super) struct Successor {
    pub(super) channel: Channel<AuthToSuccessor, SuccessorToAuth>,
    /// The messages that it has not received yet.
    pub(super) queue: VecDeque<AuthToSuccessor>,
    /// The users of logins that were under way at the handover and have been decided since.
    pub(super) decided: Rc<RefCell<Vec<UserName>>>,
    /// When the time for fronts to change to the new auth is over.
    pub(super) until: Instant,
    /// Whether all failures and last logins are in the queue, or were sent.
    pub(super) given: bool,
    /// Whether sessions knows that this process can end.
    pub(super) drained: bool,
}

/// The auth before this one.
pub(super) struct Predecessor {
    pub(super) channel: Channel<SuccessorToAuth, AuthToSuccessor>,
    /// The guesses that it has not decided yet. If another auth replaces this one, that auth counts
    /// them too.
    pub(super) under_way: HashMap<UserName, Vec<(Guess, Option<Undecided>)>>,
    until: Instant,
}

impl Successor {
    pub(super) fn new(socket: OwnedFd) -> nix::Result<Self> {
        let channel = Channel::new(socket, HandoverPhase::Remembered);
        channel.set_nonblocking()?;
        Ok(Self {
            channel,
            queue: VecDeque::new(),
            decided: Rc::default(),
            until: Instant::now() + LEAVE,
            given: false,
            drained: false,
        })
    }

    /// The channel to it, while messages for it are in the queue.
    pub(super) fn waits(&self) -> Option<BorrowedFd<'_>> {
        (!self.queue.is_empty()).then(|| self.channel.as_fd())
    }

    /// The next time at which the handover has something to do without a message.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.given).then_some(self.until)
    }

    /// Puts `all` into the queue, in as few messages as can be.
    pub(super) fn push<T, const N: usize>(
        &mut self,
        all: Vec<T>,
        message: impl Fn(List<T, N>) -> AuthToSuccessor,
    ) {
        let mut rest = all.into_iter().peekable();
        while rest.peek().is_some() {
            let some: Vec<T> = rest.by_ref().take(N.min(ENTRIES_MAX)).collect();
            self.queue.extend(List::try_from(some).map(&message));
        }
    }
}

impl Predecessor {
    pub(super) fn new(socket: OwnedFd) -> nix::Result<Self> {
        let channel = Channel::new(socket, HandoverPhase::Remembered);
        channel.set_nonblocking()?;
        Ok(Self {
            channel,
            under_way: HashMap::new(),
            until: Instant::now() + PATIENCE,
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// When its time to send what it remembers is over. `None` if it has sent all.
    pub(super) fn awaited(&self) -> Option<Instant> {
        (self.channel.phase() == HandoverPhase::Remembered).then_some(self.until)
    }
}
