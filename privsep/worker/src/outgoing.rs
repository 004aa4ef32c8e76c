//! A message on its way to the front, packet by packet. It is read in pieces as large as a packet, the first with the From_
//! line, by which it is known to be where it was found: what is looked at is what is sent.

use popward_mbox::convert::Converter;
use popward_mbox::header::{Hidden, LOOK, Shown};
use popward_mbox::message::Message;
use popward_mbox::scan::{BUFFER_MIN, ScanError, begins_there};
use popward_mbox::source::Source;
use popward_proto::codec::DATA_LIMIT;
use popward_proto::session::Broken;
use popward_update::locks::{LockedSpool, Lost};
use std::io;

/// A message, and how far it has gone.
pub struct Outgoing {
    message: Message,
    converter: Converter,
    /// What is left of the header's lines, where some are not shown.
    shown: Option<Shown>,
    /// Where what comes next begins in the spool.
    offset: u64,
    /// Room for a piece of the spool, how much of it is filled, and where that begins in the spool.
    piece: Vec<u8>,
    filled: usize,
    base: u64,
}

impl Outgoing {
    /// All of `message` that `converter` lets through, but for the header fields to be hidden. `piece` is only room.
    pub fn new(message: Message, converter: Converter, hide: Hidden, piece: Vec<u8>) -> Self {
        Self {
            offset: message.header,
            base: message.header,
            shown: (!hide.is_none()).then(|| Shown::new(hide)),
            converter,
            message,
            piece,
            filled: 0,
        }
    }

    /// The room for pieces, for the next message.
    pub fn into_room(self) -> Vec<u8> {
        self.piece
    }

    /// Whether it was sent whole, and has another size than was told.
    pub fn differs(&self) -> bool {
        let octets = self.converter.octets();
        octets.is_some_and(|octets| octets != self.message.octets)
    }

    /// Makes sure that the message begins where it did: whoever changed the spool, of `length` bytes, did not ask for our locks.
    pub fn prove(&mut self, spool: &mut LockedSpool, length: u64) -> Result<(), Broken> {
        // So much is looked at, and part of it may be the next message's.
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

    /// Puts the next bytes into `packet`, which is empty. Says whether they are the last ones.
    pub fn fill(&mut self, spool: &mut LockedSpool, packet: &mut Vec<u8>) -> Result<bool, Broken> {
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
            if let Some(shown) = self.shown.as_mut().filter(|_| header > 0) {
                // It always fits: at the worst each byte becomes two, as the ends and the first dots of lines do; and the
                // start of a line may have been held back.
                let room = (DATA_LIMIT - packet.len()).saturating_sub(2 * LOOK + 4) / 2;
                if room == 0 {
                    return Ok(false);
                }
                let taken = header.min(room);
                rewritten.clear();
                shown.pass(&bytes[..taken], &mut rewritten);
                self.offset += taken as u64;
                if self.offset == self.message.body {
                    shown.finish(&mut rewritten);
                }
                self.converter.convert(&rewritten, packet, DATA_LIMIT);
            } else {
                // The end may be an LF that is not there.
                let rest = self.converter.convert(bytes, packet, DATA_LIMIT - 2);
                self.offset += (bytes.len() - rest.len()) as u64;
                if !rest.is_empty() && !self.converter.is_done() {
                    return Ok(false);
                }
            }
        }
    }

    /// Reads what is at `offset`, up to `end`, as far as there is room.
    fn read(&mut self, spool: &mut LockedSpool, offset: u64, end: u64) -> Result<(), Broken> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(DATA_LIMIT);
        if self.piece.len() < wanted {
            self.piece.resize(wanted, 0);
        }
        (self.base, self.filled) = (offset, 0);
        let count = spool.read_at(offset, &mut self.piece[..wanted]);
        if count.map_err(|error| broken(&error))? < wanted {
            return Err(Broken::SpoolChanged);
        }
        self.filled = wanted;
        Ok(())
    }
}

/// Makes sure that `message` is where it was in the spool of `length` bytes.
pub fn prove<S: Source<Error = io::Error>>(
    source: &mut S,
    message: &Message,
    length: u64,
) -> Result<(), Broken> {
    match begins_there(source, length, &mut [0; BUFFER_MIN], message) {
        Ok(true) => Ok(()),
        Ok(false) | Err(ScanError::Truncated { .. }) => Err(Broken::SpoolChanged),
        Err(ScanError::Source(error)) => Err(broken(&error)),
        Err(_) => Err(Broken::System),
    }
}

/// What it is for the session that the spool cannot be read.
fn broken(error: &io::Error) -> Broken {
    if Lost::is(error) {
        Broken::LockLost
    } else {
        Broken::System
    }
}

/// The spool, and a piece of it that was just read.
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
