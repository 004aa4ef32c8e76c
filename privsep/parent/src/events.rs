//! What a parent waits for: its own descriptor, packets from its children, and their ends.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The number of a child. A parent gives each number once, but process ids come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildId(u32);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The parent's own descriptor is readable.
    Own,
    /// A child's channel has a packet, or has ended.
    Control(ChildId),
    /// A child's second socket has a packet: its log, or the channel of a monitor's sessions.
    Second(ChildId),
    /// A child has ended.
    Ended(ChildId),
}

impl Event {
    fn token(self) -> u64 {
        match self {
            Self::Own => 0,
            Self::Control(child) => u64::from(child.0) << 2 | 1,
            Self::Second(child) => u64::from(child.0) << 2 | 2,
            Self::Ended(child) => u64::from(child.0) << 2 | 3,
        }
    }

    fn of(token: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // `token` has made it from 32 bits.
        let child = ChildId((token >> 2) as u32);
        match token & 3 {
            1 => Self::Control(child),
            2 => Self::Second(child),
            3 => Self::Ended(child),
            _ => Self::Own,
        }
    }
}

/// The descriptors that a parent waits for.
#[derive(Debug)]
pub struct Events {
    epoll: Epoll,
    children: u32,
}

impl Events {
    /// Waits for `own`, and for nothing else yet.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn new(own: impl AsFd) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(
            own,
            EpollEvent::new(EpollFlags::EPOLLIN, Event::Own.token()),
        )?;
        Ok(Self { epoll, children: 0 })
    }

    /// A number for the next child.
    pub fn next_id(&mut self) -> ChildId {
        self.children += 1;
        ChildId(self.children)
    }

    /// Waits for `descriptor` as `event`, until the descriptor is closed.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn watch(&self, descriptor: impl AsFd, event: Event) -> nix::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, event.token());
        self.epoll.add(descriptor, event)
    }

    /// Waits for the other end of the socket `descriptor` to be closed, as the end of `id`. Packets
    /// do not count.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn watch_end(&self, descriptor: impl AsFd, id: ChildId) -> nix::Result<()> {
        let event = EpollEvent::new(EpollFlags::empty(), Event::Ended(id).token());
        self.epoll.add(descriptor, event)
    }

    /// Waits no longer for `descriptor`.
    pub fn forget(&self, descriptor: impl AsFd) {
        // The only error is that the descriptor is not watched.
        let _ = self.epoll.delete(descriptor);
    }

    /// What has happened, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn wait(&self, deadline: Option<Instant>) -> nix::Result<Vec<Event>> {
        let mut ready = [EpollEvent::empty(); 64];
        let longest = Duration::from_secs(60);
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // One millisecond more, so that the deadline has passed afterwards.
        let patience = left.map_or(longest, |left| left.min(longest)) + Duration::from_millis(1);
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::from(60_000u16));
        match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => {
                let ready = ready[..count].iter();
                Ok(ready.map(|event| Event::of(event.data())).collect())
            }
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}
