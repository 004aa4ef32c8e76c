//! Signals that ask this process to end. It ends between two users, so that no work is broken off
//! and no dotlock stays.

use crate::output::note;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What has arrived.
pub(crate) struct Interrupt {
    signals: SignalFd,
    seen: AtomicBool,
}

impl Interrupt {
    /// Takes the signals from now on, for this thread and those that it starts.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub(crate) fn take() -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            signals: SignalFd::with_flags(&signals, flags)?,
            seen: AtomicBool::new(false),
        })
    }

    /// Looks whether a signal has arrived. Tells the operator of the first one.
    pub(crate) fn look(&self) {
        let arrived = matches!(self.signals.read_signal(), Ok(Some(_)));
        if arrived && !self.seen.swap(true, Ordering::Relaxed) {
            note(&"ends after the users that are under way");
        }
    }

    /// Whether [`Interrupt::look`] has seen one.
    pub(crate) fn is_over(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}
