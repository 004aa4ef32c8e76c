//! The channel to a session's worker, and when the worker is told of a request.
//!
//! A client that retrieves one message after the other finds the beginning of the next message in
//! the socket before it asks. So the front reads the socket first and answers the client. It wakes
//! the worker later. Meanwhile the event loop does not watch the socket, because each message ahead
//! would cause an event. Sessions also reports a worker's end, so no end is missed.

use crate::handle;
use crate::pop3::Waiting;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use popward_proto::session::{ClientPhase, FrontToWorker, WorkerToFront};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// This many requests for messages that had come ahead are sent together, so that the worker is not
/// woken for each.
const UNSENT_MAX: usize = 2;

/// The channel to a session's worker.
#[derive(Debug)]
pub(crate) struct WorkerChannel {
    channel: Channel<FrontToWorker, WorkerToFront>,
    /// Whether the socket may have something to read.
    pub(crate) readable: bool,
    /// Whether the worker's end is closed.
    pub(crate) closed: bool,
    /// Whether the event loop watches the socket.
    watched: bool,
    /// Requests for messages that had come ahead. The client has the messages, but the worker does
    /// not know this yet.
    unsent: Vec<FrontToWorker>,
}

impl WorkerChannel {
    /// The channel over `socket`, which does not block. The caller registers the socket with the
    /// event loop.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            channel: Channel::new(socket, ClientPhase::Opening),
            readable: false,
            closed: false,
            watched: true,
            unsent: Vec::new(),
        }
    }

    /// The socket, for its registration.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.channel.as_fd().as_raw_fd()
    }

    /// Whether the socket has to be read now. While no request is under way, only the worker's end
    /// matters. Anything else is a message sent ahead, and can wait in the socket.
    pub(super) fn must_be_read(&self, waiting: Waiting) -> bool {
        self.readable && (self.closed || waiting != Waiting::Client)
    }

    /// Lets the event loop watch the socket.
    pub(super) fn watch(&mut self, registry: &Registry, slot: usize) -> std::io::Result<()> {
        if self.watched {
            return Ok(());
        }
        self.watched = true;
        let token = handle::worker_token(slot);
        registry.register(&mut SourceFd(&self.descriptor()), token, Interest::READABLE)
    }

    /// Lets the event loop watch the socket no more.
    pub(super) fn unwatch(&mut self, registry: &Registry) {
        let descriptor = self.descriptor();
        // If this fails, the socket stays watched.
        if self.watched && registry.deregister(&mut SourceFd(&descriptor)).is_ok() {
            self.watched = false;
        }
    }

    /// Whether the answer to this request may lie in the socket already.
    pub(super) fn may_hold_answer_of(&self, request: FrontToWorker) -> bool {
        !self.watched && request.retrieves().is_some()
    }

    /// Sends a request, after those that were held back.
    pub(super) fn send(&mut self, request: FrontToWorker) -> Result<(), ChannelError> {
        // While the socket was not watched, something may have come.
        self.readable |= !self.watched;
        self.unsent.push(request);
        self.send_all()
    }

    /// Holds back a request whose answer had come ahead, if the client has the whole answer and few
    /// requests are held back. Otherwise sends it.
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

    /// Receives a packet that the worker may send in this phase.
    pub(super) fn receive<'a>(
        &mut self,
        phase: ClientPhase,
        buffer: &'a mut PacketBuffer,
    ) -> Result<Packet<'a, WorkerToFront>, ChannelError> {
        self.channel.enter(phase);
        self.channel.receive_packet(buffer)
    }
}
