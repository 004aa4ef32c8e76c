//! Receives messages with descriptors.

use crate::channel::{Channel, ChannelError, OUT_OF_PHASE, failed, refused, whole, wipe};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use popward_proto::codec::{self, MESSAGE_LIMIT};
use popward_proto::permit::Message;
use serde::Serialize;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Most descriptors in a packet: the kernel's own bound (`SCM_MAX_FD`).
///
/// With less room, the kernel would drop the surplus itself, and this process could not count it.
const DESCRIPTORS_MAX: usize = 253;

/// Room for one packet. All channels of a thread can use the same one.
#[derive(Debug)]
pub struct PacketBuffer {
    pub(super) bytes: Box<[u8]>,
    control: Vec<u8>,
}

impl PacketBuffer {
    /// Room for a message, but not for a data packet.
    pub fn for_messages() -> Self {
        Self::with_room(MESSAGE_LIMIT)
    }

    pub(super) fn with_room(room: usize) -> Self {
        let bytes = vec![0; room].into_boxed_slice();
        let control = cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_MAX]);
        Self { bytes, control }
    }
}

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Receives one message with its descriptors, and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive(
        &mut self,
        buffer: &mut PacketBuffer,
    ) -> Result<(R, Vec<OwnedFd>), ChannelError> {
        let (length, descriptors) = self.receive_bytes(buffer)?;
        match buffer.bytes[..length].split_first_mut() {
            Some((&mut codec::TAG_MESSAGE, encoded)) => {
                let message = self.admit(encoded, descriptors.len(), false);
                wipe(encoded);
                Ok((message?, descriptors))
            }
            Some(_) => Err(refused("data", OUT_OF_PHASE)),
            None => Err(ChannelError::Closed),
        }
    }

    /// Receives one packet. Returns its length, which is 0 if the other end is closed, and its
    /// descriptors.
    pub(super) fn receive_bytes(
        &self,
        buffer: &mut PacketBuffer,
    ) -> Result<(usize, Vec<OwnedFd>), ChannelError> {
        match self.receive_once(buffer)? {
            // The kernel looks for a packet, and after that whether the other end is closed. A
            // process that sends its last packet and ends between the two looks seems to have sent
            // nothing. The packet is there now. Seen with Linux 6.1 and 6.18.
            (0, _) => self.receive_once(buffer),
            received => Ok(received),
        }
    }

    fn receive_once(
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
