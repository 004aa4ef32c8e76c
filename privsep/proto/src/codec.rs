//! The form of a packet with a message: a tag byte, then the message (postcard). `stream.rs` has the
//! form of the packets with data.

use crate::permit::{Message, Refused};
use serde::Serialize;

/// Largest packet that carries a message, tag included, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// The tag of a packet with one message.
pub const TAG_MESSAGE: u8 = 0;

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
