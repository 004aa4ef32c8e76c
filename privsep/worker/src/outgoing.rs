//! A message on its way to the front, packet by packet.
//!
//! The message is read in pieces as large as a packet. The first piece begins with the From_ line
//! and the header. They prove that the message is where it was found. So the bytes that are checked
//! are the bytes that are sent.

use popward_mbox::convert::Converter;
use popward_mbox::header::{Hidden, LOOK};
use popward_mbox::message::Message;
use popward_mbox::scan::{BUFFER_MIN, ScanError, begins_there};
use popward_mbox::shown::Shown;
use popward_mbox::source::Source;
use popward_proto::stream::DATA_LIMIT;
use popward_update::error::UpdateError;
use popward_update::locks::LockedSpool;
use std::io;

/// A message, and how much of it has been sent.
pub struct Outgoing {
    message: Message,
    converter: Converter,
    /// Removes the hidden header fields.
    shown: Shown,
    /// Where the next bytes to send lie in the spool.
    offset: u64,
    /// A piece of the spool. `filled` bytes of it are valid, and the first of them lies at `base`
    /// in the spool.
    piece: Vec<u8>,
    filled: usize,
    base: u64,
}

impl Outgoing {
    /// Begins to send `message`, as far as `converter` lets it through, without the fields of
    /// `hide`.
    pub fn new(message: Message, converter: Converter, hide: Hidden) -> Self {
        Self {
            offset: message.header,
            base: message.header,
            shown: Shown::new(hide),
            converter,
            message,
            piece: Vec::new(),
            filled: 0,
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
        // The check reads this many bytes. A short message is followed by part of the next one.
        let looked_at = self.message.from_line.saturating_add(BUFFER_MIN as u64);
        let end = self.message.end.max(looked_at).min(length);
        self.read(spool, self.message.from_line, end)?;
        let mut near = Near {
            spool,
            base: self.base,
            piece: &self.piece[..self.filled],
        };
        prove(&mut near, &self.message, length)
    }

    /// Puts the next bytes into `packet`, in the place of what it held. Returns whether they are
    /// the last ones.
    pub fn fill(
        &mut self,
        spool: &mut LockedSpool,
        packet: &mut Vec<u8>,
    ) -> Result<bool, UpdateError> {
        packet.clear();
        let mut rewritten = Vec::new();
        loop {
            if self.offset == self.message.end || self.converter.is_done() {
                self.converter.finish(packet);
                return Ok(true);
            }
            if self.offset >= self.base + self.filled as u64 {
                self.read(spool, self.offset, self.message.end)?;
            }
            let place = |offset: u64| {
                usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
            };
            let end = place(self.message.end).min(self.filled);
            let bytes = self.piece.get(place(self.offset)..end);
            let bytes = bytes.unwrap_or_default();
            let header = usize::try_from(self.message.body.saturating_sub(self.offset));
            let header = header.unwrap_or(usize::MAX).min(bytes.len());
            if header > 0 {
                // What is taken always fits into the packet. At worst each byte becomes two,
                // because of line ends and dots at the start of a line. A held-back start of a line
                // may come in addition.
                let room = (DATA_LIMIT - packet.len()).saturating_sub(2 * LOOK + 4) / 2;
                if room == 0 {
                    return Ok(false);
                }
                let taken = header.min(room);
                rewritten.clear();
                self.shown.pass(&bytes[..taken], &mut rewritten);
                self.offset += taken as u64;
                if self.offset == self.message.body {
                    self.shown.finish(&mut rewritten);
                }
                self.converter.convert(&rewritten, packet, DATA_LIMIT);
            } else {
                // Two bytes stay free: the last line may lack its LF, and then the converter adds
                // CR and LF.
                let rest = self.converter.convert(bytes, packet, DATA_LIMIT - 2);
                self.offset += (bytes.len() - rest.len()) as u64;
                if !rest.is_empty() && !self.converter.is_done() {
                    return Ok(false);
                }
            }
        }
    }

    /// Reads the bytes from `offset` to `end`, or fewer if the piece is full.
    fn read(&mut self, spool: &mut LockedSpool, offset: u64, end: u64) -> Result<(), UpdateError> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(DATA_LIMIT);
        if self.piece.len() < wanted {
            self.piece.resize(wanted, 0);
        }
        (self.base, self.filled) = (offset, 0);
        if spool.read_at(offset, &mut self.piece[..wanted])? < wanted {
            return Err(UpdateError::Changed("the spool is shorter than it was"));
        }
        self.filled = wanted;
        Ok(())
    }
}

/// Checks that `message` is where it was found, in a spool of `length` bytes.
pub fn prove<S: Source<Error = io::Error>>(
    source: &mut S,
    message: &Message,
    length: u64,
) -> Result<(), UpdateError> {
    match begins_there(source, length, &mut [0; BUFFER_MIN], message) {
        Ok(true) => Ok(()),
        Err(ScanError::Source(error)) => Err(error.into()),
        _ => Err(UpdateError::Changed("a message is not where it was")),
    }
}

/// The spool, with a piece of it that was just read and need not be read again.
struct Near<'a> {
    spool: &'a mut LockedSpool,
    base: u64,
    piece: &'a [u8],
}

impl Source for Near<'_> {
    type Error = io::Error;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, io::Error> {
        let start = offset.checked_sub(self.base);
        let start = start.and_then(|start| usize::try_from(start).ok());
        let here = start.and_then(|start| self.piece.get(start..)?.get(..into.len()));
        if let Some(here) = here {
            into.copy_from_slice(here);
            return Ok(into.len());
        }
        self.spool.read_at(offset, into)
    }
}
