//! A child with a channel to its parent.

use crate::events::{ChildId, Event, Events};
use crate::process::{Launch, Process, Starter, send};
use popward_proto::permit::Message;
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use serde::Serialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A child that is told `S` and says `R`.
#[derive(Debug)]
pub struct ConnectedChild<S: Serialize, R: Message> {
    /// The child.
    pub process: Process,
    /// `None` once it has ended or broken the rules. Then the child ends, or is being killed.
    pub channel: Option<Channel<S, R>>,
}

impl<S: Serialize, R: Message> ConnectedChild<S, R> {
    /// Starts an executable with a channel and, behind it, `rest`. Watches the child. It may say
    /// first what `phase` permits.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    pub fn start(
        starter: &mut Starter,
        launch: &Launch<'_>,
        rest: &[BorrowedFd<'_>],
        phase: R::Phase,
    ) -> nix::Result<Self> {
        let (own, theirs) = socket_pair()?;
        let channel = Channel::new(own, phase);
        // The parent never waits for a child that hangs.
        channel.set_nonblocking()?;
        let descriptors = [&[theirs.as_fd()], rest].concat();
        let mut process = Process::start(starter, launch, &descriptors)?;
        let event = Event::Control(process.id());
        if let Err(errno) = starter.events.watch(channel.as_fd(), event) {
            let _ = process.end(true);
            return Err(errno);
        }
        let channel = Some(channel);
        Ok(Self { process, channel })
    }

    /// Its number.
    pub fn id(&self) -> ChildId {
        self.process.id()
    }

    /// Sends to it, if its channel is open.
    ///
    /// # Errors
    ///
    /// As [`send`].
    pub fn send(&self, message: &S, files: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let channel = self.channel.as_ref();
        channel.map_or(Ok(()), |channel| send(channel, message, files))
    }

    /// Receives from it. `None`: its channel is not open.
    pub fn receive(
        &mut self,
        buffer: &mut PacketBuffer,
    ) -> Option<Result<(R, Vec<OwnedFd>), ChannelError>> {
        Some(self.channel.as_mut()?.receive(buffer))
    }

    /// Closes its channel.
    pub fn disconnect(&mut self, events: &Events) {
        if let Some(channel) = self.channel.take() {
            events.forget(channel.as_fd());
        }
    }

    /// Waits no longer for it. It was reaped.
    pub fn forget(&mut self, events: &Events) {
        self.disconnect(events);
        self.process.forget(events);
    }
}

/// A child, whatever its channel carries.
pub trait AnyChild {
    /// The child.
    fn process(&mut self) -> &mut Process;
    /// Closes its channel.
    fn disconnect(&mut self, events: &Events);
    /// It has said that it can serve.
    fn enter_service(&mut self);
}

impl<S: Serialize, R: Message<Phase = SetupPhase>> AnyChild for ConnectedChild<S, R> {
    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn disconnect(&mut self, events: &Events) {
        Self::disconnect(self, events);
    }

    fn enter_service(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.enter(SetupPhase::Serving);
        }
    }
}
