//! A message on its way to the front, packet by packet.
//!
//! The message is read in pieces as large as a packet. The first piece begins with the From_ line
//! and the header. They prove that the message is where it was found. So the bytes that are checked
//! are the bytes that are sent.

use popward_mbox::convert::Converter;
use popward_mbox::header::{Hidden, LOOK};
use popward_mbox::message::Message;
use popward_mbox::scan::{BUFFER_MIN, begins_there};
use popward_mbox::shown::Shown;
use popward_mbox::window::Window;
use popward_proto::stream::DATA_LIMIT;
use popward_update::error::UpdateError;
use popward_update::locks::LockedSpool;
use std::mem::take;
use std::ops::Range;

/// A message, and how much of it has been sent.
pub struct Outgoing {
    message: Message,
    converter: Converter,
    /// Says which header lines are sent.
    shown: Shown,
    /// Where the next bytes to send lie in the spool.
    offset: u64,
    /// A piece of the spool, and where its bytes lie there.
    piece: Vec<u8>,
    held: Range<u64>,
}

impl Outgoing {
    /// Begins to send `message`, as far as `converter` lets it through, without the fields of
    /// `hide`.
    pub fn new(message: Message, converter: Converter, hide: Hidden) -> Self {
        let length = usize::try_from(message.end - message.from_line).unwrap_or(usize::MAX);
        Self {
            shown: Shown::new(hide),
            offset: message.header,
            converter,
            message,
            piece: vec![0; length.clamp(BUFFER_MIN, DATA_LIMIT)],
            held: 0..0,
        }
    }

    /// Whether the message was sent whole and had another size than the client was told.
    pub fn differs(&self) -> bool {
        let octets = self.converter.octets();
        octets.is_some_and(|octets| octets != self.message.octets)
    }

    /// Checks that the message begins where it was found, in a spool of `length` bytes. If it does
    /// not, a program that does not take our locks has changed the spool.
    pub fn prove(&mut self, spool: &mut LockedSpool, length: u64) -> Result<(), UpdateError> {
        let mut window = Window::new(spool, length, &mut self.piece);
        prove(&mut window, &self.message)?;
        self.held = window.held();
        Ok(())
    }

    /// Puts the next bytes into `packet`, in the place of what it held. Returns whether they are
    /// the last ones.
    pub fn fill(
        &mut self,
        spool: &mut LockedSpool,
        packet: &mut Vec<u8>,
    ) -> Result<bool, UpdateError> {
        packet.clear();
        let (body, end) = (self.message.body, self.message.end);
        // If a read fails, the piece is not what it was.
        let held = take(&mut self.held);
        let mut window = Window::resumed(spool, end, &mut self.piece, held);
        while self.offset < end && !self.converter.is_done() {
            let view = window.at(self.offset, LOOK)?;
            let left = |end: u64| usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            let view = &view[..view.len().min(left(end))];
            let (part, is_sent) = if self.offset < body {
                self.shown.part(&view[..view.len().min(left(body))])
            } else {
                (view, true)
            };
            // Two bytes stay free: the last line may lack its LF, and then the converter adds CR
            // and LF.
            let rest = if is_sent {
                self.converter.convert(part, packet, DATA_LIMIT - 2)
            } else {
                &[]
            };
            let sent = &part[..part.len() - rest.len()];
            self.offset += sent.len() as u64;
            self.shown.passed(sent);
            if !rest.is_empty() && !self.converter.is_done() {
                self.held = window.held();
                return Ok(false);
            }
        }
        self.converter.finish(packet);
        Ok(true)
    }
}

/// Checks that `message` is where it was found.
pub fn prove(window: &mut Window<'_, LockedSpool>, message: &Message) -> Result<(), UpdateError> {
    let moved = UpdateError::Changed("a message is not where it was");
    begins_there(window, message)?.then_some(()).ok_or(moved)
}
