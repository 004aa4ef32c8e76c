//! One packet: a tag byte, then either one message (postcard) or raw bytes of a reply's stream.

use crate::permit::Message;

/// Largest packet that carries a message, tag included, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// Largest payload of a data packet, in bytes: a piece of a message body or of a listing, ready for the wire.
pub const DATA_LIMIT: usize = 64 * 1024;

/// Largest packet of either kind, tag included, in bytes.
pub const PACKET_LIMIT: usize = DATA_LIMIT + 1;

/// Tag of a packet that holds one message.
pub const TAG_MESSAGE: u8 = 0;
/// Tag of a data packet that others follow.
pub const TAG_DATA: u8 = 1;
/// Tag of the data packet that ends its stream.
pub const TAG_LAST: u8 = 2;

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
