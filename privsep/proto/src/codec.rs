//! The form of a packet: a tag byte, then one message (postcard), or raw bytes of a stream, or
//! both.
//!
//! A message that announces a stream comes with the stream's first bytes. So a small reply is one
//! packet.

use crate::permit::Message;
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

/// Why a message cannot be encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The message is larger than its kind's limit, or than the packet that it was to be written
    /// to.
    Oversized,
    /// The bytes are not a message of this direction, or a value in it is out of bounds.
    Undecodable,
    /// More bytes follow the message.
    LeftOver,
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Oversized => "message larger than its limit",
            Self::Undecodable => "bytes are no message of this direction",
            Self::LeftOver => "bytes left over after the message",
        })
    }
}

impl std::error::Error for CodecError {}

/// Writes the tag and `message` to the start of `packet`. Returns the number of bytes written.
pub fn encode<M: Serialize>(message: &M, packet: &mut [u8]) -> Result<usize, CodecError> {
    let Some((tag, body)) = packet.split_first_mut() else {
        return Err(CodecError::Oversized);
    };
    *tag = TAG_MESSAGE;
    let used = postcard::to_slice(message, body).map_err(|_| CodecError::Oversized)?;
    Ok(used.len() + 1)
}

/// Splits the payload of a [`TAG_FIRST`] or [`TAG_WHOLE`] packet into the announcement and the
/// data.
pub fn split_announcement(payload: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let (length, rest) = payload.split_first().ok_or(CodecError::Undecodable)?;
    rest.split_at_checked(usize::from(*length))
        .ok_or(CodecError::Undecodable)
}

/// Decodes a packet's payload (the bytes after the tag). The message must fill all of it.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, CodecError> {
    if payload.len() > M::LIMIT {
        return Err(CodecError::Oversized);
    }
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(CodecError::LeftOver),
        Err(_) => Err(CodecError::Undecodable),
    }
}
