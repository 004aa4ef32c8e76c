//! How a session's requests arrive and its answers leave. While a worker waits for its front, it
//! refreshes the dotlock and watches for the end of sessions.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::session::{FrontToWorker, WorkerToFront};
use popward_sys::channel::ChannelError;
use popward_update::error::UpdateError;
use popward_update::locks::LockedSpool;
use popward_update::start::{Ends, ToFront};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Why a session ends without its update.
#[derive(Debug)]
pub enum Stop {
    /// The front closed the session's socket.
    FrontGone,
    /// Sessions closed its channel: the server ends.
    MonitorGone,
    /// The front broke the rules of the channel.
    Rules(ChannelError),
    /// The session cannot go on. Nothing is deleted.
    Broken(UpdateError),
    /// The update at QUIT failed.
    NotUpdated(UpdateError),
}

impl From<UpdateError> for Stop {
    fn from(error: UpdateError) -> Self {
        Self::Broken(error)
    }
}

/// The front and sessions of a session, and the spool whose dotlock is refreshed meanwhile.
pub struct Transport {
    /// The front and sessions.
    pub ends: Ends,
    /// The spool. `None`: there is none.
    pub spool: Option<LockedSpool>,
}

impl Transport {
    /// The spool of a message, which there must be.
    pub fn spool(&mut self) -> Result<&mut LockedSpool, UpdateError> {
        self.spool.as_mut().ok_or(UpdateError::NoState)
    }

    /// Sends `message`.
    pub fn answer(&mut self, message: &WorkerToFront) -> Result<(), Stop> {
        send(&self.ends, self.spool.as_mut(), |front| front.send(message))
    }

    /// Sends a part of a stream. `last` says whether it ends the stream.
    pub fn send_data(
        &mut self,
        announced: Option<&WorkerToFront>,
        bytes: &[u8],
        last: bool,
    ) -> Result<(), Stop> {
        send(&self.ends, self.spool.as_mut(), |front| {
            front.send_data(announced, bytes, last)
        })
    }

    /// The next request, if one has arrived. This does not wait.
    pub fn pending(&mut self) -> Result<Option<FrontToWorker>, Stop> {
        match self.ends.front.receive_message() {
            Ok(request) => Ok(Some(request)),
            Err(ChannelError::WouldBlock) => Ok(None),
            Err(ChannelError::Closed) => Err(Stop::FrontGone),
            Err(error) => Err(Stop::Rules(error)),
        }
    }

    /// Waits until a request has arrived.
    pub fn wait(&mut self) -> Result<(), Stop> {
        wait(&self.ends, self.spool.as_mut(), PollFlags::POLLIN)
    }
}

/// Waits until the front's socket is ready for `events`, and refreshes the dotlock of `spool`
/// meanwhile.
fn wait(ends: &Ends, mut spool: Option<&mut LockedSpool>, events: PollFlags) -> Result<(), Stop> {
    loop {
        let due = spool.as_ref().map(|spool| spool.due());
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        // The timeout is rounded down to milliseconds. One more millisecond avoids waits of 0 ms in
        // a row before the lock is due.
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            let due = due + Duration::from_millis(1);
            PollTimeout::try_from(due).unwrap_or(PollTimeout::from(1000u16))
        });
        let mut ready = [
            PollFd::new(ends.front.as_fd(), events),
            PollFd::new(ends.monitor.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(UpdateError::System(io::Error::from(errno)).into()),
        }
        // Sessions sends nothing more, so any event on its channel means that it has ended.
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

/// Calls `send` until the front's socket has room for what it sends. Waits meanwhile.
pub fn send(
    ends: &Ends,
    mut spool: Option<&mut LockedSpool>,
    send: impl Fn(&ToFront) -> Result<(), ChannelError>,
) -> Result<(), Stop> {
    loop {
        match send(&ends.front) {
            Ok(()) => return Ok(()),
            Err(ChannelError::WouldBlock) => {
                wait(ends, spool.as_deref_mut(), PollFlags::POLLOUT)?;
            }
            Err(ChannelError::Closed) => return Err(Stop::FrontGone),
            Err(error) => return Err(Stop::Rules(error)),
        }
    }
}
