//! solid-pop3d 0.15: the MD5 of the first lines of some fields. Names and line ends count.

use super::header::{Header, hexadecimal};

/// The names in exactly this spelling: `Message-ID` does not count.
const FIELDS: [&[u8]; 4] = [b"Received:", b"Date:", b"Message-Id:", b"Subject:"];

/// The shortest line with `From ` that begins a message, in bytes with its LF.
const FROM_LINE_MIN: usize = 28;

#[derive(Default)]
pub(super) struct SolidPop3d {
    hash: md5::Context,
    /// Whether the current line counts.
    fixed: bool,
}

impl Header for SolidPop3d {
    fn begin(&mut self, start: &[u8]) -> bool {
        // A line of CRLF alone does not end a header here: solid-pop3d reads on into the body. A
        // message that only solid-pop3d sees may begin there. Then the lines before it give this
        // UIDL.
        let from_line = start.starts_with(b"From ") && start.len() >= FROM_LINE_MIN;
        if start == b"\n" || from_line {
            return false;
        }
        self.fixed = FIELDS.iter().any(|name| start.starts_with(name));
        true
    }

    fn take(&mut self, piece: &[u8]) {
        if self.fixed {
            self.hash.consume(piece);
        }
    }

    fn name(self: Box<Self>) -> Option<Box<str>> {
        Some(hexadecimal(&*self.hash.finalize()))
    }
}
