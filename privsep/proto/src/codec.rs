//! The form of a packet: a tag byte, then one message (postcard), or raw bytes of a stream, or
//! both.
//!
//! A message that announces a stream comes with the stream's first bytes. So a small reply is one
//! packet.

use crate::permit::{Message, Refused};
use serde::Serialize;

/// Largest packet that carries a message, tag included, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// Largest payload of a data packet, in bytes: a part of a message body or of a listing, in the
/// form that the client gets.
pub const DATA_LIMIT: usize = 64 * 1024;

/// Largest message that announces a stream, in bytes. One byte holds its length.
pub const ANNOUNCEMENT_LIMIT: usize = u8::MAX as usize;

/// Largest packet of any kind, in bytes: a tag, an announcement with its length, and data.
pub const PACKET_LIMIT: usize = 2 + ANNOUNCEMENT_LIMIT + DATA_LIMIT;

/// The tag of a packet with one message.
pub const TAG_MESSAGE: u8 = 0;
/// The tag of a data packet that is not the last of its stream.
pub const TAG_DATA: u8 = 1;
/// The tag of the last data packet of a stream.
pub const TAG_LAST: u8 = 2;
/// The tag of a packet with an announcement and the stream's first data: the announcement's length
/// (one byte), the announcement, the data.
pub const TAG_FIRST: u8 = 3;
/// The tag of such a packet if its data is the whole stream.
pub const TAG_WHOLE: u8 = 4;

/// The tag of a data packet: with an announcement or without, the last of its stream or not.
pub fn data_tag(announced: bool, last: bool) -> u8 {
    match (announced, last) {
        (false, false) => TAG_DATA,
        (false, true) => TAG_LAST,
        (true, false) => TAG_FIRST,
        (true, true) => TAG_WHOLE,
    }
}

/// The error for a message that is larger than its kind's limit, or than the packet that it was to
/// be written to.
pub const OVERSIZED: Refused = Refused {
    kind: "message",
    why: "is larger than its limit",
};

/// Writes the tag and `message` to the start of `packet`. Returns the number of bytes written.
pub fn encode<M: Serialize>(message: &M, packet: &mut [u8]) -> Result<usize, Refused> {
    let Some((tag, body)) = packet.split_first_mut() else {
        return Err(OVERSIZED);
    };
    *tag = TAG_MESSAGE;
    let used = postcard::to_slice(message, body).map_err(|_| OVERSIZED)?;
    Ok(used.len() + 1)
}

/// Decodes a packet's payload (the bytes after the tag). The message must fill all of it.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, Refused> {
    if payload.len() > M::LIMIT {
        return Err(OVERSIZED);
    }
    let wrong = |why| {
        Err(Refused {
            kind: "packet",
            why,
        })
    };
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        Ok(_) => wrong("has bytes behind its message"),
        Err(_) => wrong("is no message of this direction"),
    }
}
