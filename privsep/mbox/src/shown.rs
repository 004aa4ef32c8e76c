//! Removes the lines of a header that clients are not shown.

use crate::header::{Fate, Fields, Hidden, LOOK};

/// Removes hidden lines from a header that comes in pieces.
#[derive(Debug)]
pub struct Shown {
    fields: Fields,
    /// The start of the current line, until it is decided how the line is treated.
    start: Vec<u8>,
    begins: bool,
    fate: Fate,
}

impl Shown {
    /// Begins the header of a message.
    pub fn new(hide: Hidden) -> Self {
        Self {
            fields: Fields::new(hide),
            start: Vec::with_capacity(LOOK),
            begins: true,
            fate: Fate::PLAIN,
        }
    }

    /// Appends to `out` the part of the header's next bytes that clients see.
    pub fn pass(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
            let room = if self.begins {
                LOOK - self.start.len()
            } else {
                end
            };
            let (line, rest) = piece.split_at(end.min(room));
            piece = rest;
            let ended = line.ends_with(b"\n");
            if self.begins {
                self.start.extend_from_slice(line);
                if ended || self.start.len() == LOOK {
                    self.decide(out);
                }
            } else if !self.fate.hidden {
                out.extend_from_slice(line);
            }
            self.begins |= ended;
        }
    }

    /// Ends the header: appends a last line that is still undecided, if clients see it.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.start.is_empty() {
            self.decide(out);
        }
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        self.fate = self.fields.read(&self.start, false, self.fate);
        if !self.fate.hidden {
            out.extend_from_slice(&self.start);
        }
        self.start.clear();
        self.begins = false;
    }
}
