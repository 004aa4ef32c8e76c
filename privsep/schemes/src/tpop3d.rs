//! tpop3d: the MD5 of the first 512 bytes from the From_ line on, or of a shorter message with its separator.

use super::hexadecimal;
use memchr::memmem;

/// How much is hashed, in bytes.
const HASHED: usize = 512;

/// What its messages are separated by, strictly: both line feeds end one message, the rest begins the next.
const SEPARATOR: &[u8] = b"\n\nFrom ";

/// How much is looked at: a separator may begin just before the end of what is hashed.
pub(super) const LOOK: usize = HASHED + SEPARATOR.len();

/// The name of the message whose From_ line `view` begins with: of [`LOOK`] bytes, or of all up to the spool's end.
pub(super) fn name(view: &[u8]) -> Box<str> {
    let view = &view[..view.len().min(LOOK)];
    let end = memmem::find(view, SEPARATOR).map_or(view.len(), |at| at + 2);
    hexadecimal(&*md5::compute(&view[..end.min(HASHED)]))
}
