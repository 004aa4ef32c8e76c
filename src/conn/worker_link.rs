//! The channel to a session's worker, and when the worker is told of a request.
//!
//! While the client retrieves one message after the other, the beginning of the next message is in the socket before the
//! client asks for it, and nobody needs to be told. So the socket is not watched then: the monitor says too when the worker
//! has gone. A request looks into the socket first, so that the client is answered before the worker is woken.

use crate::handle;
use crate::pop3::Waiting;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use popward_proto::session::{ClientPhase, FrontToWorker, WorkerToFront};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// So many requests for messages that had come ahead are sent together: the worker is not woken for each.
const UNSENT_MAX: usize = 2;

/// The way to a session's worker.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    channel: Channel<FrontToWorker, WorkerToFront>,
    /// Whether it may have something to read.
    pub(crate) readable: bool,
    /// Whether its other end is closed.
    pub(crate) closed: bool,
    /// Whether the event loop reports that there is something to read.
    watched: bool,
    /// RETR of messages that had come ahead. The client has them, and the worker does not know it yet.
    unsent: Vec<FrontToWorker>,
}

impl WorkerLink {
    /// The link over `socket`, which the caller watches.
    pub(super) fn new(socket: OwnedFd) -> nix::Result<Self> {
        let channel = Channel::new(socket, ClientPhase::Opening);
        channel.set_nonblocking()?;
        Ok(Self {
            channel,
            readable: false,
            closed: false,
            watched: true,
            unsent: Vec::new(),
        })
    }

    /// The socket, for its registration.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.channel.as_fd().as_raw_fd()
    }

    /// Whether there may be something of interest to read. Where nothing was asked only the end is of interest: the rest
    /// is the beginning of what the worker expects to be asked for, and can wait in the socket.
    pub(super) fn may_speak(&self, waiting: Waiting) -> bool {
        self.readable && (self.closed || waiting != Waiting::Client)
    }

    /// Has the event loop report what comes.
    pub(super) fn watch(&mut self, registry: &Registry, slot: usize) -> std::io::Result<()> {
        if self.watched {
            return Ok(());
        }
        self.watched = true;
        let token = handle::worker_token(slot);
        registry.register(&mut SourceFd(&self.descriptor()), token, Interest::READABLE)
    }

    /// Has it not reported.
    pub(super) fn unwatch(&mut self, registry: &Registry) {
        let descriptor = self.descriptor();
        // Should it fail, it stays watched.
        if self.watched && registry.deregister(&mut SourceFd(&descriptor)).is_ok() {
            self.watched = false;
        }
    }

    /// Whether a look into the socket can spare the worker this request.
    pub(super) fn may_hold_answer_of(&self, request: FrontToWorker) -> bool {
        !self.watched && request.retrieves().is_some()
    }

    /// Sends a request, behind those that were not sent yet.
    pub(super) fn send(&mut self, request: FrontToWorker) -> Result<(), ChannelError> {
        // Where the socket was not watched, something may have come meanwhile.
        self.readable |= !self.watched;
        self.unsent.push(request);
        self.send_all()
    }

    /// Keeps back a request that was answered by what had come ahead, if its answer is complete and few are kept back.
    pub(super) fn send_later(
        &mut self,
        request: FrontToWorker,
        complete: bool,
    ) -> Result<(), ChannelError> {
        self.readable = true;
        self.unsent.push(request);
        if complete && self.unsent.len() < UNSENT_MAX {
            return Ok(());
        }
        self.send_all()
    }

    fn send_all(&mut self) -> Result<(), ChannelError> {
        let mut unsent = self.unsent.drain(..);
        unsent.try_for_each(|request| self.channel.send(&request))
    }

    /// Takes a packet of what the worker may send in this phase.
    pub(super) fn receive<'a>(
        &mut self,
        phase: ClientPhase,
        buffer: &'a mut PacketBuffer,
    ) -> Result<Packet<'a, WorkerToFront>, ChannelError> {
        self.channel.enter(phase);
        self.channel.receive(buffer)
    }
}
