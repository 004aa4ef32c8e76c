//! Dovecot 2 with `%m`, or with `%g`, which is the same for mbox: the MD5 of the values of the
//! fields that popa3d takes, without names and line ends.
//!
//! One case is not followed. If a value has more than 8 KiB without a blank, its line does not fit
//! into the buffer of Dovecot 2.3.19, and Dovecot hashes the blank after the colon too. No date and
//! no id is that long.

use super::header::{Header, continues, hexadecimal};
use memchr::memchr;

#[derive(Default)]
pub(super) struct DovecotMd5 {
    hash: md5::Context,
    /// Whether the current field counts.
    fixed: bool,
    received: bool,
    place: Place,
    /// A CR was read but not hashed, because it may belong to the line's end.
    held_cr: bool,
}

/// The place in a line.
#[derive(Default, PartialEq)]
enum Place {
    #[default]
    Name,
    /// After the colon. One blank, if there is one, belongs to it.
    Colon,
    Value,
}

impl Header for DovecotMd5 {
    fn begin(&mut self, start: &[u8]) -> bool {
        if start == b"\n" || start == b"\r\n" {
            return false;
        }
        if continues(start) {
            self.place = Place::Value;
            return true;
        }
        self.place = Place::Name;
        // Blanks before the colon do not count. Without a colon there is no name.
        let mut name = &start[..memchr(b':', start).unwrap_or(0)];
        while let [shorter @ .., b' ' | b'\t'] = name {
            name = shorter;
        }
        let is = |field: &[u8]| name.eq_ignore_ascii_case(field);
        self.fixed = if is(b"Received") {
            !std::mem::replace(&mut self.received, true)
        } else if is(b"Date") || is(b"Message-ID") {
            !self.received
        } else {
            is(b"Delivered-To") || is(b"X-Delivery-ID")
        };
        true
    }

    fn take(&mut self, piece: &[u8]) {
        if !self.fixed {
            return;
        }
        let mut rest = piece;
        if self.place == Place::Name {
            let Some(colon) = memchr(b':', rest) else {
                return;
            };
            rest = &rest[colon + 1..];
            self.place = Place::Colon;
        }
        if self.place == Place::Colon && !rest.is_empty() {
            rest = rest
                .strip_prefix(b" ")
                .or(rest.strip_prefix(b"\t"))
                .unwrap_or(rest);
            self.place = Place::Value;
        }
        self.value(rest);
    }

    fn name(mut self: Box<Self>) -> Option<Box<str>> {
        if self.held_cr {
            self.hash.consume(b"\r");
        }
        Some(hexadecimal(&*self.hash.finalize()))
    }
}

impl DovecotMd5 {
    /// Hashes a piece of a value, without the line's end.
    fn value(&mut self, piece: &[u8]) {
        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
        let ended = text.len() < piece.len();
        if self.held_cr && !text.is_empty() {
            self.hash.consume(b"\r");
            self.held_cr = false;
        }
        let kept = text.strip_suffix(b"\r").unwrap_or(text);
        self.hash.consume(kept);
        self.held_cr = !ended && (self.held_cr || kept.len() < text.len());
    }
}
