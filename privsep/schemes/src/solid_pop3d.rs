//! solid-pop3d 0.15: the MD5 of the first lines of some fields, names and line ends with them.

use super::{Header, hexadecimal};

/// In this spelling only: a `Message-ID` does not count.
const FIELDS: [&[u8]; 4] = [b"Received:", b"Date:", b"Message-Id:", b"Subject:"];

/// The shortest line that begins `From ` and a message, LF with it.
const FROM_LINE_MIN: usize = 28;

#[derive(Default)]
pub(super) struct SolidPop3d {
    hash: md5::Context,
    /// Whether the line counts.
    fixed: bool,
}

impl Header for SolidPop3d {
    fn begin(&mut self, start: &[u8]) -> bool {
        // A CRLF line does not end a header: it goes on into the body. There a message may begin that only solid-pop3d
        // sees; then what lies before it has this name.
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
