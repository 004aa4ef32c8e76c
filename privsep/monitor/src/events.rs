//! What the monitor waits for: signals, packets of its children, and their ends.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;
use std::time::Duration;

/// A child process, numbered over the monitor's life; never used again, as process ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChildId(pub(crate) u32);

/// Something to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal has come.
    Signal,
    /// A child's channel has a packet, or its end.
    Control(ChildId),
    /// A child's log has a record.
    Log(ChildId),
    /// A child has ended.
    Ended(ChildId),
}

impl Event {
    fn token(self) -> u64 {
        match self {
            Self::Signal => 0,
            Self::Control(child) => u64::from(child.0) << 2 | 1,
            Self::Log(child) => u64::from(child.0) << 2 | 2,
            Self::Ended(child) => u64::from(child.0) << 2 | 3,
        }
    }

    fn of(token: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)] // It was made from 32 bits.
        let child = ChildId((token >> 2) as u32);
        match token & 3 {
            1 => Self::Control(child),
            2 => Self::Log(child),
            3 => Self::Ended(child),
            _ => Self::Signal,
        }
    }
}

/// The monitor's signals and its children's descriptors, waited for together.
#[derive(Debug)]
pub(crate) struct Events {
    epoll: Epoll,
    signals: SignalFd,
}

/// The signals that end the server.
const ENDING: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Holds back the signals of a server until it reads them. Otherwise a SIGHUP during the start would
/// end it.
///
/// # Errors
///
/// The system call failed.
pub(crate) fn block_signals() -> nix::Result<()> {
    let mut signals = SigSet::from_iter(ENDING);
    signals.add(Signal::SIGHUP);
    signals.thread_block()
}

/// Returns a descriptor that is readable while a signal that ends the server is held back. Nothing
/// reads it.
///
/// # Errors
///
/// There are no more descriptors.
pub(crate) fn ending_signals() -> nix::Result<SignalFd> {
    SignalFd::with_flags(&SigSet::from_iter(ENDING), SfdFlags::SFD_CLOEXEC)
}

impl Events {
    /// Takes the signals that mean something here: SIGTERM and SIGINT, SIGHUP.
    pub(crate) fn new() -> nix::Result<Self> {
        block_signals()?;
        let mut wanted = SigSet::from_iter(ENDING);
        wanted.add(Signal::SIGHUP);
        let signals =
            SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, Event::Signal.token());
        epoll.add(&signals, event)?;
        Ok(Self { epoll, signals })
    }

    /// Waits for `descriptor` as `event`, until it is closed.
    pub(crate) fn watch(&self, descriptor: impl AsFd, event: Event) -> nix::Result<()> {
        self.epoll.add(
            descriptor,
            EpollEvent::new(EpollFlags::EPOLLIN, event.token()),
        )
    }

    /// No longer waits for `descriptor`.
    pub(crate) fn forget(&self, descriptor: impl AsFd) {
        // It was being watched; that it no longer is, is all that could be the matter.
        let _ = self.epoll.delete(descriptor);
    }

    /// What is to be looked at now, after at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> nix::Result<Vec<Event>> {
        let mut ready = [EpollEvent::empty(); 64];
        // A millisecond more: a deadline that is waited for should have passed.
        let timeout = EpollTimeout::try_from(patience + Duration::from_millis(1))
            .unwrap_or(EpollTimeout::from(60_000u16));
        match self.epoll.wait(&mut ready, timeout) {
            Ok(count) => Ok(ready[..count]
                .iter()
                .map(|event| Event::of(event.data()))
                .collect()),
            Err(nix::errno::Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }

    /// The signals that have come.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).ok();
            signals.extend(number.and_then(|number| Signal::try_from(number).ok()));
        }
        signals
    }
}
