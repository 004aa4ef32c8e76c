//! One field of a header that comes in pieces, on one line: what listings show (XTND XLST, EUIDL).
//!
//! Whoever wrote the message wrote the value: it is bounded, folded lines are joined, and no control character is left of it
//! that could end a reply's line or move a cursor.

use memchr::memchr;

/// Looks for a field's first occurrence and keeps the start of its value.
#[derive(Debug)]
pub struct Field<'n> {
    name: &'n [u8],
    /// Other bytes than ASCII become `?`.
    ascii: bool,
    most: usize,
    place: Place,
    /// The name as this header spells it, as far as it has been read.
    spelled: Vec<u8>,
    value: Vec<u8>,
}

/// Where in the header the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a line that has begun with so many bytes of the name.
    Name(usize),
    /// In another field.
    Other,
    /// In the value.
    Value,
    /// At the start of the line after it: a continuation, or the end.
    After,
    /// Behind it.
    Found,
}

impl<'n> Field<'n> {
    /// For the field `name` (case does not matter), of which the first `most` bytes are wanted.
    pub fn new(name: &'n [u8], most: usize, ascii: bool) -> Self {
        Self {
            name,
            ascii,
            most,
            place: Place::Name(0),
            spelled: Vec::with_capacity(name.len()),
            value: Vec::new(),
        }
    }

    /// Takes the header's next bytes. Returns whether no more are needed.
    pub fn pass(&mut self, mut piece: &[u8]) -> bool {
        while let [byte, rest @ ..] = piece {
            if self.place == Place::Other {
                let Some(end) = memchr(b'\n', piece) else {
                    return false;
                };
                self.place = Place::Name(0);
                piece = &piece[end + 1..];
                continue;
            }
            self.place = self.after(*byte);
            if self.place == Place::Found {
                return true;
            }
            piece = rest;
        }
        false
    }

    fn after(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::Name(_) | Place::Other, b'\n') => Place::Name(0),
            (Place::Name(count), b':') if count == self.name.len() => Place::Value,
            // Old software leaves space before the colon (RFC 5322, section 4.5).
            (Place::Name(count), b' ' | b'\t') if count == self.name.len() => self.place,
            (Place::Name(count), _) => {
                let next = self.name.get(count);
                if next.is_some_and(|next| next.eq_ignore_ascii_case(&byte)) {
                    self.spelled.truncate(count);
                    self.spelled.push(byte);
                    Place::Name(count + 1)
                } else {
                    Place::Other
                }
            }
            (Place::Value, b'\n') => Place::After,
            (Place::Value, _) | (Place::After, b' ' | b'\t') => self.keep(byte),
            _ => Place::Found,
        }
    }

    fn keep(&mut self, byte: u8) -> Place {
        let byte = match byte {
            b' ' | 0x7f | 0..0x20 => b' ',
            0x80.. if self.ascii => b'?',
            _ => byte,
        };
        if byte == b' ' && self.value.last().is_none_or(|last| *last == b' ') {
            return Place::Value;
        }
        if self.value.len() == self.most {
            // Not in the middle of a character.
            if byte & 0xc0 == 0x80 {
                let begins = self.value.iter().rposition(|byte| byte & 0xc0 != 0x80);
                self.value.truncate(begins.unwrap_or(0));
            }
            return Place::Found;
        }
        self.value.push(byte);
        Place::Value
    }

    /// Name and value, if the header has the field: as [`Field::value`].
    pub fn line(mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.spelled);
        line.extend_from_slice(b": ");
        line.extend_from_slice(&self.value()?);
        Some(line)
    }

    /// The value, if the header has the field. All of the header has been passed, or enough of it.
    pub fn value(mut self) -> Option<Vec<u8>> {
        let length = self.value.trim_ascii_end().len();
        self.value.truncate(length);
        let found = matches!(self.place, Place::Value | Place::After | Place::Found);
        found.then_some(self.value)
    }
}

#[cfg(test)]
mod tests;
