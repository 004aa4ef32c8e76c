//! What workers do with channels: they receive messages without data and descriptors, and send
//! streams. The other processes use `server/`.

use super::{
    Channel, ChannelError, IoSlice, OUT_OF_PHASE, OVERSIZED, failed, refused, send_packet, whole,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recvmsg};
use popward_proto::codec;
use popward_proto::permit::Message;
use popward_proto::stream;
use serde::Serialize;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Sends a part of a stream: at most [`stream::DATA_LIMIT`] bytes. The first part needs the
    /// message that announces the stream.
    pub fn send_data(
        &self,
        announced: Option<&S>,
        bytes: &[u8],
        last: bool,
    ) -> Result<(), ChannelError> {
        let mut packet = [0; 2 + stream::ANNOUNCEMENT_LIMIT];
        let mut used = 1;
        if let Some(message) = announced {
            // The announcement's length takes the place of the message's own tag.
            let length = codec::encode(message, &mut packet[1..])?;
            packet[1] = u8::try_from(length - 1).map_err(|_| OVERSIZED)?;
            used += length;
        }
        packet[0] = stream::data_tag(announced.is_some(), last);
        let parts = [IoSlice::new(&packet[..used]), IoSlice::new(bytes)];
        send_packet(&self.socket, &parts, &[])
    }

    /// Receives one message without descriptors, and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive_message(&mut self) -> Result<R, ChannelError> {
        let mut packet = vec![0; 1 + R::LIMIT];
        let length = match receive_bytes(&self.socket, &mut packet)? {
            // The other end may have sent its last packet and ended during this call: see
            // `receive`. The packet is there now.
            0 => receive_bytes(&self.socket, &mut packet)?,
            length => length,
        };
        match packet[..length].split_first() {
            Some((&codec::TAG_MESSAGE, encoded)) => self.admit(encoded, 0, false),
            Some(_) => Err(refused("data", OUT_OF_PHASE)),
            None => Err(ChannelError::Closed),
        }
    }
}

/// Receives a packet without descriptors. The kernel drops those that nobody made room for.
fn receive_bytes(socket: &OwnedFd, bytes: &mut [u8]) -> Result<usize, ChannelError> {
    loop {
        let parts = &mut [IoSliceMut::new(bytes)];
        match recvmsg::<()>(socket.as_raw_fd(), parts, None, MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(packet) => return whole(packet.flags).map(|()| packet.bytes),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}
