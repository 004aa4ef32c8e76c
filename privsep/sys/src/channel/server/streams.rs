//! Receives streams: what a front does with its channels to workers.

use crate::channel::{
    Channel, ChannelError, DESCRIPTORS, OUT_OF_PHASE, PacketBuffer, codec, refused,
};
use popward_proto::permit::Message;
use popward_proto::stream::{PACKET_LIMIT, TAG_DATA, TAG_FIRST, TAG_LAST, TAG_WHOLE};
use serde::Serialize;

/// The contents of one packet.
#[derive(Debug)]
pub enum Packet<'b, R> {
    /// A permitted message.
    Message(R),
    /// A part of a stream.
    Data {
        /// The message that announces the stream. Only the first part has one.
        announced: Option<R>,
        /// The bytes, in the form that the client gets.
        bytes: &'b [u8],
        /// Whether this is the last part of the stream.
        last: bool,
    },
}

impl PacketBuffer {
    /// Room for a message or a data packet.
    pub fn for_data() -> Self {
        Self::with_room(PACKET_LIMIT)
    }
}

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Receives one packet without descriptors, and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive_packet<'b>(
        &mut self,
        buffer: &'b mut PacketBuffer,
    ) -> Result<Packet<'b, R>, ChannelError> {
        let (length, descriptors) = self.receive_bytes(buffer)?;
        let (tag, payload) = buffer.bytes[..length]
            .split_first()
            .ok_or(ChannelError::Closed)?;
        if !descriptors.is_empty() {
            return Err(refused("packet", DESCRIPTORS));
        }
        match *tag {
            codec::TAG_MESSAGE => Ok(Packet::Message(self.admit(payload, 0, false)?)),
            TAG_DATA | TAG_LAST => {
                if R::DATA_PHASE != Some(self.gate.phase()) {
                    return Err(refused("data", OUT_OF_PHASE));
                }
                Ok(Packet::Data {
                    announced: None,
                    bytes: payload,
                    last: *tag == TAG_LAST,
                })
            }
            TAG_FIRST | TAG_WHOLE => {
                let (message, bytes) = split_announcement(payload)
                    .ok_or(refused("announcement", "is shorter than it says"))?;
                Ok(Packet::Data {
                    announced: Some(self.admit(message, 0, true)?),
                    bytes,
                    last: *tag == TAG_WHOLE,
                })
            }
            _ => Err(refused("packet", "has an unknown tag")),
        }
    }
}

/// Splits the payload of a [`TAG_FIRST`] or [`TAG_WHOLE`] packet into the announcement and the data.
/// `None`: it is shorter than the announcement says.
fn split_announcement(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first()?;
    rest.split_at_checked(usize::from(*length))
}
