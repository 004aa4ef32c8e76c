//! Pins: UIDLs that belong to a message for good, by its content key. A migration writes pins. A
//! worker writes them if the spool alone does not tell messages apart.
//!
//! The file is text, so that an operator can read and write it. Its first line is `popward pins 1`.
//! Each further line is `KEY UIDL`. KEY is a message's digest in hexadecimal. If several lines have
//! one key, the first line is for the first message in the spool that has this key, and so on.

use crate::uidl::{hexadecimal, is_valid};
use std::collections::BTreeMap;

const FIRST_LINE: &[u8] = b"popward pins 1\n";

/// All pins of a maildrop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins(BTreeMap<[u8; 16], Vec<Box<str>>>);

impl Pins {
    /// The UIDLs of the messages with this digest, in order.
    pub fn of(&self, digest: &[u8; 16]) -> &[Box<str>] {
        self.0.get(digest).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pins these UIDLs to the messages with this digest, and removes the digest's other pins.
    pub fn set(&mut self, digest: [u8; 16], names: Vec<Box<str>>) {
        if names.is_empty() {
            self.0.remove(&digest);
        } else {
            self.0.insert(digest, names);
        }
    }

    /// The text of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = FIRST_LINE.to_vec();
        for (digest, names) in &self.0 {
            for name in names {
                let line = [&hexadecimal(digest)[..], b" ", name.as_bytes(), b"\n"].concat();
                text.extend(line);
            }
        }
        text
    }

    /// Reads the text of a file. The error is the number of the first wrong line, from 1.
    pub fn decode(text: &[u8]) -> Result<Self, usize> {
        let lines = text.strip_prefix(FIRST_LINE).ok_or(1_usize)?;
        let mut pins = Self::default();
        for (number, line) in (2_usize..).zip(lines.split_inclusive(|byte| *byte == b'\n')) {
            let (digest, name) = pin(line).ok_or(number)?;
            pins.0.entry(digest).or_default().push(name);
        }
        Ok(pins)
    }
}

/// Reads one line.
fn pin(line: &[u8]) -> Option<([u8; 16], Box<str>)> {
    let (key, name) = line.strip_suffix(b"\n")?.split_at_checked(32)?;
    let name = name.strip_prefix(b" ").filter(|name| is_valid(name))?;
    let lower = key.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let key = std::str::from_utf8(key).ok().filter(|_| lower)?;
    let digest = u128::from_str_radix(key, 16).ok()?.to_be_bytes();
    Some((digest, std::str::from_utf8(name).ok()?.into()))
}

#[cfg(test)]
mod tests;
