//! The form of a packet of a stream, which only workers send: a tag byte, then raw bytes. A message
//! that announces a stream comes with the stream's first bytes. So a small reply is one packet.

/// Largest payload of a data packet, in bytes: a part of a message body or of a listing, in the
/// form that the client gets.
pub const DATA_LIMIT: usize = 64 * 1024;

/// Largest message that announces a stream, in bytes. One byte holds its length.
pub const ANNOUNCEMENT_LIMIT: usize = u8::MAX as usize;

/// Largest packet of any kind, in bytes: a tag, an announcement with its length, and data.
pub const PACKET_LIMIT: usize = 2 + ANNOUNCEMENT_LIMIT + DATA_LIMIT;

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
    let pair = if announced { TAG_FIRST } else { TAG_DATA };
    pair + u8::from(last)
}
