//! One packet: a tag byte, then one message (postcard), or raw bytes of a reply's stream, or both: a message that announces a
//! stream comes with its first bytes, so that a small reply is one packet.

use crate::permit::Message;

/// Largest packet that carries a message, tag included, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// Largest payload of a data packet, in bytes: a piece of a message body or of a listing, ready for the wire.
pub const DATA_LIMIT: usize = 64 * 1024;

/// Largest message that announces a stream, in bytes: its length is one byte.
pub const ANNOUNCEMENT_LIMIT: usize = u8::MAX as usize;

/// Largest packet of any kind, in bytes: a tag, an announcement with its length, data.
pub const PACKET_LIMIT: usize = 2 + ANNOUNCEMENT_LIMIT + DATA_LIMIT;

/// Tag of a packet that holds one message.
pub const TAG_MESSAGE: u8 = 0;
/// Tag of a data packet that others follow.
pub const TAG_DATA: u8 = 1;
/// Tag of the data packet that ends its stream.
pub const TAG_LAST: u8 = 2;
/// Tag of a packet that holds the length of a message (one byte), the message, and the first data of the stream that it
/// announces.
pub const TAG_FIRST: u8 = 3;
/// Tag of a packet like that, whose data are all of the stream.
pub const TAG_WHOLE: u8 = 4;

/// The tag of data that come with an announcement, or not, and that end the stream, or not.
pub fn data_tag(announced: bool, last: bool) -> u8 {
    match (announced, last) {
        (false, false) => TAG_DATA,
        (false, true) => TAG_LAST,
        (true, false) => TAG_FIRST,
        (true, true) => TAG_WHOLE,
    }
}

/// Why a message could not be put into a packet or taken out of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The message is larger than its kind's limit. Nothing of it was written.
    Oversized,
    /// The bytes are no message of this direction, or a value in them is out of bounds.
    Undecodable,
    /// A message was decoded, and bytes were left over.
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

/// Writes `message` with its tag to the start of `packet` and returns how many bytes it took.
pub fn encode<M: Message>(message: &M, packet: &mut [u8]) -> Result<usize, CodecError> {
    let limit = packet.len().min(M::LIMIT + 1);
    let Some((tag, body)) = packet[..limit].split_first_mut() else {
        return Err(CodecError::Oversized);
    };
    *tag = TAG_MESSAGE;
    let used = postcard::to_slice(message, body).map_err(|_| CodecError::Oversized)?;
    Ok(used.len() + 1)
}

/// Takes the announcement's bytes from the start of the payload of a [`TAG_FIRST`] or [`TAG_WHOLE`] packet; the rest is data.
pub fn split_announcement(payload: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let (length, rest) = payload.split_first().ok_or(CodecError::Undecodable)?;
    rest.split_at_checked(usize::from(*length))
        .ok_or(CodecError::Undecodable)
}

/// Reads the message of a packet's payload (the bytes after the tag), to its last byte.
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
