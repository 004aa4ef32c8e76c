//! Makes channels, and sends descriptors.

use crate::channel::{
    AsRawFd, BorrowedFd, Channel, ChannelError, ControlMessage, Message, OwnedFd, Serialize,
    send_to,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Two connected sockets, one for each process. Both close on exec.
pub fn socket_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    pair(SockFlag::SOCK_CLOEXEC)
}

/// Two connected sockets that do not block. Their filters forbid some processes to change that.
pub fn nonblocking_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    pair(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
}

fn pair(flags: SockFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
}

impl<S: Serialize, R: Message> Channel<S, R> {
    /// Sends a message with as many descriptors as its row of the permit table says.
    pub fn send_with(
        &self,
        message: &S,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        send_to(&self.socket, message, control)
    }
}
