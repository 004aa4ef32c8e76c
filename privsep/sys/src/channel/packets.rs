//! Receives packets with data or descriptors. No worker does.

use super::{Channel, ChannelError, DESCRIPTORS, OUT_OF_PHASE, failed, refused, whole, wipe};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use popward_proto::codec::{self, MESSAGE_LIMIT, PACKET_LIMIT};
use popward_proto::permit::Message;
use serde::Serialize;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The contents of one packet.
#[derive(Debug)]
pub enum Packet<'b, R> {
    /// A permitted message, with its descriptors.
    Message(R, Vec<OwnedFd>),
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

/// Most descriptors in a packet: the kernel's own bound (`SCM_MAX_FD`).
///
/// With less room, the kernel would drop the surplus itself, and this process could not count it.
const DESCRIPTORS_MAX: usize = 253;

/// Room for one packet. All channels of a thread can use the same one.
#[derive(Debug)]
pub struct PacketBuffer {
    bytes: Box<[u8]>,
    control: Vec<u8>,
}

impl PacketBuffer {
    /// Room for a message, but not for a data packet.
    pub fn for_messages() -> Self {
        Self::with_room(MESSAGE_LIMIT)
    }

    /// Room for a message or a data packet.
    pub fn for_data() -> Self {
        Self::with_room(PACKET_LIMIT)
    }

    fn with_room(room: usize) -> Self {
        let bytes = vec![0; room].into_boxed_slice();
        let control = cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_MAX]);
        Self { bytes, control }
    }
}

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Receives one packet and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive<'b>(
        &mut self,
        buffer: &'b mut PacketBuffer,
    ) -> Result<Packet<'b, R>, ChannelError> {
        let (length, descriptors) = match self.receive_packet(buffer)? {
            // The kernel looks for a packet, and after that whether the other end is closed. A
            // process that sends its last packet and ends between the two looks seems to have sent
            // nothing. The packet is there now. Seen with Linux 6.1 and 6.18.
            (0, _) => self.receive_packet(buffer)?,
            received => received,
        };
        let (tag, payload) = buffer.bytes[..length]
            .split_first_mut()
            .ok_or(ChannelError::Closed)?;
        match *tag {
            codec::TAG_MESSAGE => {
                let message = self.admit(payload, descriptors.len(), false);
                wipe(payload);
                Ok(Packet::Message(message?, descriptors))
            }
            codec::TAG_DATA | codec::TAG_LAST => {
                if R::DATA_PHASE != Some(self.gate.phase()) {
                    return Err(refused("data", OUT_OF_PHASE));
                }
                if !descriptors.is_empty() {
                    return Err(refused("data", DESCRIPTORS));
                }
                Ok(Packet::Data {
                    announced: None,
                    bytes: payload,
                    last: *tag == codec::TAG_LAST,
                })
            }
            codec::TAG_FIRST | codec::TAG_WHOLE => {
                let (message, bytes) = split_announcement(payload)
                    .ok_or(refused("announcement", "is shorter than it says"))?;
                Ok(Packet::Data {
                    announced: Some(self.admit(message, descriptors.len(), true)?),
                    bytes,
                    last: *tag == codec::TAG_WHOLE,
                })
            }
            _ => Err(refused("packet", "has an unknown tag")),
        }
    }

    fn receive_packet(
        &self,
        buffer: &mut PacketBuffer,
    ) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
        let PacketBuffer { bytes, control } = buffer;
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
        loop {
            let mut parts = [IoSliceMut::new(bytes)];
            match recvmsg::<()>(socket, &mut parts, Some(&mut *control), flags) {
                Ok(packet) => {
                    let (flags, length) = (packet.flags, packet.bytes);
                    // A wrong packet's descriptors are closed here.
                    let descriptors = take_descriptors(&packet)?;
                    whole(flags)?;
                    return Ok((length, descriptors));
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

/// Splits the payload of a [`codec::TAG_FIRST`] or [`codec::TAG_WHOLE`] packet into the announcement
/// and the data. `None`: it is shorter than the announcement says.
fn split_announcement(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Takes ownership of all descriptors of a packet. One that nobody owned would stay open for ever.
fn take_descriptors(
    packet: &nix::sys::socket::RecvMsg<'_, '_, ()>,
) -> Result<Vec<OwnedFd>, ChannelError> {
    let mut descriptors = Vec::new();
    for message in packet.cmsgs().map_err(ChannelError::System)? {
        if let ControlMessageOwned::ScmRights(received) = message {
            for raw in received {
                // SAFETY: the kernel has made this descriptor in this call. Nothing else owns it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
    }
    Ok(descriptors)
}
