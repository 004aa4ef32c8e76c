//! A message on its way to the front, packet by packet, of which none is longer than a packet may be.

use crate::locks::LockedSpool;
use popward_mbox::convert::Converter;
use popward_mbox::header::{Hidden, LOOK, Shown};
use popward_mbox::message::Message;
use popward_proto::codec::DATA_LIMIT;
use popward_proto::session::Broken;

/// Room that is too small to be worth a call that reads into it.
const SCRAP: usize = 4096;

/// A message, and how far it has gone.
pub struct Outgoing {
    /// What is sent.
    pub message: Message,
    converter: Converter,
    /// What is left of the header's lines, where some are not shown.
    shown: Option<Shown>,
    /// All before is in a packet.
    offset: u64,
}

impl Outgoing {
    /// All of `message` that `converter` lets through, but for the header fields to be hidden.
    pub fn new(message: Message, converter: Converter, hide: Hidden) -> Self {
        Self {
            offset: message.header,
            shown: (!hide.is_none()).then(|| Shown::new(hide)),
            converter,
            message,
        }
    }

    /// Puts the next bytes into `packet`, which is empty, by way of `buffer`. Says whether they are the last ones.
    pub fn fill(
        &mut self,
        spool: &mut LockedSpool,
        buffer: &mut Vec<u8>,
        packet: &mut Vec<u8>,
    ) -> Result<bool, Broken> {
        let mut rewritten = Vec::new();
        loop {
            // What is read always fits: at the worst each byte becomes two, as line ends and the dots of lines do; the start of
            // a header line may have been held back, and the message's end may be added.
            let room = (DATA_LIMIT - packet.len()).saturating_sub(2 * LOOK + 4) / 2;
            let header = self
                .shown
                .as_mut()
                .filter(|_| self.offset < self.message.body);
            let end = if header.is_some() {
                self.message.body
            } else {
                self.message.end
            };
            let left = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            if self.offset == self.message.end || self.converter.is_done() {
                self.converter.finish(packet);
                return Ok(true);
            }
            if room < left && room < SCRAP {
                return Ok(false);
            }
            buffer.resize(left.min(room), 0);
            let count = spool.read_at(self.offset, buffer);
            if count.map_err(|_| Broken::System)? < buffer.len() {
                return Err(Broken::SpoolChanged);
            }
            self.offset += buffer.len() as u64;
            let mut bytes = &buffer[..];
            if let Some(header) = header {
                rewritten.clear();
                header.pass(bytes, &mut rewritten);
                if self.offset == self.message.body {
                    header.finish(&mut rewritten);
                }
                bytes = &rewritten;
            }
            self.converter.convert(bytes, packet, DATA_LIMIT);
        }
    }
}
