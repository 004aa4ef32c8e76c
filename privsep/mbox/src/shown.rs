//! Says which lines of a header clients are shown.

use crate::header::{Fate, Fields, Hidden};

/// A header that comes in parts.
#[derive(Debug)]
pub struct Shown {
    fields: Fields,
    /// Whether the next part begins a line.
    begins: bool,
    fate: Fate,
}

impl Shown {
    /// Begins the header of a message.
    pub fn new(hide: Hidden) -> Self {
        Self {
            fields: Fields::new(hide),
            begins: true,
            fate: Fate::default(),
        }
    }

    /// The next part of the header, up to the end of a line, and whether clients see it. `header`
    /// is the rest of the header, or at least the next [`crate::header::LOOK`] bytes of it.
    pub fn part<'h>(&mut self, header: &'h [u8]) -> (&'h [u8], bool) {
        let end = memchr::memchr(b'\n', header).map_or(header.len(), |end| end + 1);
        let part = &header[..end];
        if self.begins {
            self.fate = self.fields.read(part, false, self.fate);
            self.begins = false;
        }
        (part, !self.fate.hidden)
    }

    /// Notes that these bytes of the part are done with. The next part begins behind them.
    pub fn passed(&mut self, bytes: &[u8]) {
        self.begins = bytes.ends_with(b"\n");
    }
}
