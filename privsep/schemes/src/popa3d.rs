//! popa3d 1.0.3: half of the MD5 of the header lines that neither a later delivery nor a mail
//! reader changes. Names and line ends count.

use super::header::{Header, continues, hexadecimal, is_field};

#[derive(Default)]
pub(super) struct Popa3d {
    hash: md5::Context,
    /// Whether the current line counts.
    fixed: bool,
    received: bool,
}

impl Header for Popa3d {
    fn begin(&mut self, start: &[u8]) -> bool {
        // A line of CRLF alone does not end a header here: popa3d reads on into the body.
        if start == b"\n" {
            return false;
        }
        if !continues(start) {
            self.fixed = if is_field(start, b"Received:") {
                !std::mem::replace(&mut self.received, true)
            } else if is_field(start, b"Date:") || is_field(start, b"Message-ID:") {
                !self.received
            } else {
                // popa3d compares the X exactly, and the rest without regard to case.
                is_field(start, b"Delivered-To:")
                    || (start.starts_with(b"X") && is_field(start, b"X-Delivery-ID:"))
            };
        }
        true
    }

    fn take(&mut self, piece: &[u8]) {
        if self.fixed {
            self.hash.consume(piece);
        }
    }

    fn name(self: Box<Self>) -> Option<Box<str>> {
        // The digest's first two words, printed as numbers of a little-endian machine.
        let mut half = [0; 8];
        half.copy_from_slice(&self.hash.finalize()[..8]);
        half[..4].reverse();
        half[4..].reverse();
        Some(hexadecimal(&half))
    }
}
