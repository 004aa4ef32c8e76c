//! How a session's requests arrive and its answers leave. While a worker waits for its front, it
//! refreshes the dotlock and watches for the monitor's end.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::codec::DATA_LIMIT;
use popward_proto::session::{Broken, FrontToWorker, WorkerToFront};
use popward_sys::channel::{ChannelError, Packet, PacketBuffer};
use popward_update::locks::{LockedSpool, Lost};
use popward_update::start::{Ends, ToFront};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Why a session ends without QUIT. Nothing is deleted then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The front closed the session's socket.
    FrontGone,
    /// The monitor closed its channel: the server ends.
    MonitorGone,
    /// The front broke the rules of the channel.
    Rules(ChannelError),
    /// The session cannot go on. The front is told why.
    Broken(Broken),
}

impl From<Lost> for Stop {
    fn from(_: Lost) -> Self {
        Self::Broken(Broken::LockLost)
    }
}

/// Waits until the front's socket is ready for `events`, and refreshes the dotlock of `spool`
/// meanwhile.
pub fn wait(
    ends: &Ends,
    mut spool: Option<&mut LockedSpool>,
    events: PollFlags,
) -> Result<(), Stop> {
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
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return Err(Stop::Broken(Broken::System)),
        }
        // The monitor sends nothing more, so any event on its channel means that it has ended.
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

/// Sends `answer`.
pub fn answer(
    ends: &Ends,
    spool: Option<&mut LockedSpool>,
    answer: &WorkerToFront,
) -> Result<(), Stop> {
    send(ends, spool, |front| front.send(answer))
}

/// The next request, if one has arrived. This does not wait.
pub fn pending(ends: &mut Ends, buffer: &mut PacketBuffer) -> Result<Option<FrontToWorker>, Stop> {
    match ends.front.receive(buffer) {
        Ok(Packet::Message(request, _)) => Ok(Some(request)),
        Ok(Packet::Data { .. }) => Err(Stop::Rules(ChannelError::UnknownTag(1))),
        Err(ChannelError::WouldBlock) => Ok(None),
        Err(ChannelError::Closed) => Err(Stop::FrontGone),
        Err(error) => Err(Stop::Rules(error)),
    }
}

/// A stream of data. Its first packet is sent together with the message that announces it.
pub struct Stream {
    announced: Option<WorkerToFront>,
    /// The next packet, as far as it has been filled.
    pub packet: Vec<u8>,
}

impl Stream {
    /// An empty stream, which `announced` announces.
    pub fn of(announced: WorkerToFront) -> Self {
        Self {
            announced: Some(announced),
            packet: Vec::with_capacity(4096),
        }
    }

    /// Makes room for `bytes` more bytes in the packet. If the packet would become too long, sends
    /// it first.
    pub fn make_room(
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

    /// Sends the packet. `last` says whether it ends the stream.
    pub fn send(
        &mut self,
        ends: &Ends,
        spool: Option<&mut LockedSpool>,
        last: bool,
    ) -> Result<(), Stop> {
        let announced = self.announced.take();
        send(ends, spool, |front| {
            front.send_data(announced.as_ref(), &self.packet, last)
        })?;
        self.packet.clear();
        Ok(())
    }
}
