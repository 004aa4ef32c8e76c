//! tpop3d: the MD5 of the first 512 bytes from the From_ line on. If the message is shorter, its
//! separator is hashed with it.

use super::header::hexadecimal;
use memchr::memmem;

/// How many bytes are hashed.
const HASHED: usize = 512;

/// What separates messages for tpop3d. Both line feeds belong to the message before. The rest
/// begins the next message.
const SEPARATOR: &[u8] = b"\n\nFrom ";

/// How many bytes are looked at. A separator may begin just before the end of the hashed bytes.
pub(super) const LOOK: usize = HASHED + SEPARATOR.len();

/// The UIDL of the message whose From_ line begins `view`. `view` has [`LOOK`] bytes, or all bytes
/// up to the spool's end.
pub(super) fn name(view: &[u8]) -> Box<str> {
    let view = &view[..view.len().min(LOOK)];
    let end = memmem::find(view, SEPARATOR).map_or(view.len(), |at| at + 2);
    hexadecimal(&*md5::compute(&view[..end.min(HASHED)]))
}
