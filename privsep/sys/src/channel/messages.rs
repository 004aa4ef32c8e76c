//! Receives messages without data and descriptors, for workers. The other processes use
//! `packets.rs`.

use super::{Channel, ChannelError, OUT_OF_PHASE, failed, refused, whole};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recvmsg};
use popward_proto::codec;
use popward_proto::permit::Message;
use serde::Serialize;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Receives one message without descriptors, and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive_message(&mut self) -> Result<R, ChannelError> {
        let mut packet = vec![0; 1 + R::LIMIT];
        let length = receive_bytes(&self.socket, &mut packet)?;
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
