//! A channel to one other process: typed messages, data packets and descriptors over a
//! `SOCK_SEQPACKET` socket.
//!
//! One packet is one message. A packet is wrong if it is truncated, cannot be decoded to its last
//! byte, comes out of phase, or brings another number of descriptors than is due. A wrong packet is
//! an error, and the caller ends this channel, nothing else. Descriptors of a wrong packet are
//! closed.

mod messages;
#[cfg(feature = "server")]
mod server;

use crate::seccomp::{Rule, allow_if};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use popward_proto::codec::{self, MESSAGE_LIMIT, OVERSIZED};
use popward_proto::permit::{DESCRIPTORS, Gate, Message, OUT_OF_PHASE, Refused};
use serde::Serialize;
#[cfg(feature = "server")]
pub use server::{Packet, PacketBuffer, nonblocking_pair, socket_pair};
use std::io::IoSlice;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Why a channel has not received or sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelError {
    /// Nothing to receive now, or no room to send. Only on a socket that does not block.
    WouldBlock,
    /// The other end is closed.
    Closed,
    /// The packet is wrong, or may not come now.
    Refused(Refused),
    /// The system call failed.
    System(Errno),
}

impl std::fmt::Display for ChannelError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WouldBlock => out.write_str("nothing now"),
            Self::Closed => out.write_str("the other end is closed"),
            Self::Refused(error) => error.fmt(out),
            Self::System(errno) => errno.fmt(out),
        }
    }
}

impl From<Refused> for ChannelError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// One end of a channel: it sends `S` and receives `R`.
#[derive(Debug)]
pub struct Channel<S: Serialize, R: Message> {
    socket: OwnedFd,
    gate: Gate<R>,
    sends: PhantomData<fn(S)>,
}

/// The system calls of a channel, for the filter of a process.
pub const CALLS: &[Rule] = &[
    // Receives packets. With other flags, the call would read errors of a socket instead.
    allow_if(libc::SYS_recvmsg, 2, &[libc::MSG_CMSG_CLOEXEC as u64]),
    // Sends packets. With MSG_FASTOPEN, the call would connect a TCP socket to any address.
    allow_if(libc::SYS_sendmsg, 2, &[libc::MSG_NOSIGNAL as u64]),
];

impl<S: Serialize, R: Message> Channel<S, R> {
    /// A channel over `socket`. Its receiving end starts in `phase`.
    pub fn new(socket: OwnedFd, phase: R::Phase) -> Self {
        Self {
            socket,
            gate: Gate::new(phase),
            sends: PhantomData,
        }
    }

    /// Makes this end return [`ChannelError::WouldBlock`] instead of waiting. The other end is not
    /// changed.
    pub fn set_nonblocking(&self) -> nix::Result<()> {
        set_nonblocking(&self.socket)
    }

    /// The phase of the receiving end.
    pub fn phase(&self) -> R::Phase {
        self.gate.phase()
    }

    /// Sets the phase of the receiving end.
    pub fn enter(&mut self, phase: R::Phase) {
        self.gate.enter(phase);
    }

    /// Sends a message without descriptors.
    pub fn send(&self, message: &S) -> Result<(), ChannelError> {
        send_to(&self.socket, message, &[])
    }

    /// Decodes a message, and checks it against its row of the permit table.
    fn admit(&mut self, encoded: &[u8], count: usize, with_data: bool) -> Result<R, ChannelError> {
        let message = codec::decode::<R>(encoded)?;
        self.gate.admit(&message, count, with_data)?;
        Ok(message)
    }
}

impl<S: Serialize, R: Message> AsFd for Channel<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes this end of a socket return instead of waiting. The other end is not changed.
pub(crate) fn set_nonblocking(socket: &OwnedFd) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Sends a message, with the descriptors of `control`.
pub(crate) fn send_to(
    socket: &OwnedFd,
    message: &impl Serialize,
    control: &[ControlMessage<'_>],
) -> Result<(), ChannelError> {
    let mut packet = [0; MESSAGE_LIMIT];
    let encoded = codec::encode(message, &mut packet);
    let used = encoded.unwrap_or(MESSAGE_LIMIT);
    let sent = match encoded {
        Ok(length) => send_packet(socket, &[IoSlice::new(&packet[..length])], control),
        Err(refused) => Err(refused.into()),
    };
    wipe(&mut packet[..used]);
    sent
}

fn send_packet(
    socket: &OwnedFd,
    parts: &[IoSlice<'_>],
    control: &[ControlMessage<'_>],
) -> Result<(), ChannelError> {
    let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
    loop {
        match sendmsg::<()>(socket, parts, control, flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Checks that nothing of a packet was cut off.
fn whole(flags: MsgFlags) -> Result<(), ChannelError> {
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(refused("packet", DESCRIPTORS));
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(refused("packet", "is longer than any may be"));
    }
    Ok(())
}

fn refused(kind: &'static str, why: &'static str) -> ChannelError {
    ChannelError::Refused(Refused { kind, why })
}

/// Wipes the encoded form of a message, because the message may hold a secret. No message to or
/// from a worker holds one.
fn wipe(encoded: &mut [u8]) {
    #[cfg(feature = "server")]
    zeroize::Zeroize::zeroize(encoded);
    #[cfg(not(feature = "server"))]
    let _ = encoded;
}

fn failed(errno: Errno) -> ChannelError {
    match errno {
        Errno::EAGAIN => ChannelError::WouldBlock,
        Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN => ChannelError::Closed,
        errno => ChannelError::System(errno),
    }
}

#[cfg(test)]
mod tests;
