//! The X-UIDL header's value, if it can be a UIDL.

use super::header::{Header, continues, is_field};
use popward_mbox::uidl::is_valid;

const NAME: &[u8] = b"X-UIDL:";

/// The longest UIDL (RFC 1939, section 7).
const UIDL_MAX: usize = 70;

#[derive(Default)]
pub(super) struct XUidl {
    /// Whether the first X-UIDL is being read.
    found: bool,
    /// How many bytes of the field's name are still to come.
    name_left: usize,
    value: String,
    /// A blank came after the value, so nothing more may follow.
    closed: bool,
    /// The value cannot be a UIDL.
    invalid: bool,
}

impl Header for XUidl {
    fn begin(&mut self, start: &[u8]) -> bool {
        if start == b"\n" || start == b"\r\n" {
            return false;
        }
        if continues(start) {
            return true;
        }
        if self.found {
            return false;
        }
        self.found = is_field(start, NAME);
        self.name_left = NAME.len();
        true
    }

    fn take(&mut self, piece: &[u8]) {
        if !self.found || self.invalid {
            return;
        }
        let skipped = self.name_left.min(piece.len());
        self.name_left -= skipped;
        for byte in &piece[skipped..] {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.closed = !self.value.is_empty(),
                0x21..=0x7E if !self.closed && self.value.len() < UIDL_MAX => {
                    self.value.push(char::from(*byte));
                }
                _ => {
                    self.invalid = true;
                    return;
                }
            }
        }
    }

    fn name(self: Box<Self>) -> Option<Box<str>> {
        let valid = !self.invalid && is_valid(self.value.as_bytes());
        valid.then(|| self.value.into_boxed_str())
    }
}
