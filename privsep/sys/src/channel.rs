//! A channel to one other process: typed messages, data packets and descriptors over a
//! `SOCK_SEQPACKET` socket.
//!
//! One packet is one message. A packet is wrong if it is truncated, cannot be decoded to its last
//! byte, comes out of phase, or brings another number of descriptors than is due. A wrong packet is
//! an error, and the caller ends this channel, nothing else. Descriptors of a wrong packet are
//! closed.

#[cfg(feature = "server")]
mod sockets;

use crate::seccomp::{Rule, allow_if};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use popward_proto::codec::{self, CodecError, MESSAGE_LIMIT, PACKET_LIMIT};
use popward_proto::permit::{Gate, Message, Refused};
use serde::Serialize;
#[cfg(feature = "server")]
pub use sockets::{nonblocking_pair, socket_pair};
use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Why a channel has not received or sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelError {
    /// Nothing to receive now, or no room to send. Only on a socket that does not block.
    WouldBlock,
    /// The other end is closed.
    Closed,
    /// A packet is longer than the longest permitted one.
    Truncated,
    /// A packet's tag is unknown.
    UnknownTag(u8),
    /// A packet is not a message of this direction.
    Codec(CodecError),
    /// The permit table does not permit this message now, or not in this form.
    Refused(Refused),
    /// The system call failed.
    System(Errno),
}

impl std::fmt::Display for ChannelError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WouldBlock => out.write_str("nothing now"),
            Self::Closed => out.write_str("the other end is closed"),
            Self::Truncated => out.write_str("packet longer than any may be"),
            Self::UnknownTag(tag) => write!(out, "packet with unknown tag {tag}"),
            Self::Codec(error) => error.fmt(out),
            Self::Refused(error) => error.fmt(out),
            Self::System(errno) => errno.fmt(out),
        }
    }
}

impl std::error::Error for ChannelError {}

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
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let flags = OFlag::from_bits_retain(fcntl(&self.socket, FcntlArg::F_GETFL)?);
        fcntl(&self.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
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
        self.send_beside(message, &[])
    }

    fn send_beside(&self, message: &S, control: &[ControlMessage<'_>]) -> Result<(), ChannelError> {
        let mut packet = [0; MESSAGE_LIMIT];
        let encoded = codec::encode(message, &mut packet);
        let used = encoded.unwrap_or(MESSAGE_LIMIT);
        let sent = encoded
            .map_err(ChannelError::Codec)
            .and_then(|length| self.send_packet(&[IoSlice::new(&packet[..length])], control));
        wipe(&mut packet[..used]);
        sent
    }

    /// Sends a part of a stream: at most [`codec::DATA_LIMIT`] bytes. The first part needs the
    /// message that announces the stream.
    pub fn send_data(
        &self,
        announced: Option<&S>,
        bytes: &[u8],
        last: bool,
    ) -> Result<(), ChannelError> {
        let mut packet = [0; 2 + codec::ANNOUNCEMENT_LIMIT];
        let mut used = 1;
        if let Some(message) = announced {
            // The announcement's length takes the place of the message's own tag.
            let length = codec::encode(message, &mut packet[1..]).map_err(ChannelError::Codec)?;
            packet[1] =
                u8::try_from(length - 1).map_err(|_| ChannelError::Codec(CodecError::Oversized))?;
            used += length;
        }
        packet[0] = codec::data_tag(announced.is_some(), last);
        self.send_packet(&[IoSlice::new(&packet[..used]), IoSlice::new(bytes)], &[])
    }

    fn send_packet(
        &self,
        parts: &[IoSlice<'_>],
        control: &[ControlMessage<'_>],
    ) -> Result<(), ChannelError> {
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        loop {
            match sendmsg::<()>(socket, parts, control, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Receives one packet and checks it against the permit table.
    ///
    /// # Errors
    ///
    /// Every error but `WouldBlock` means that this channel must end.
    pub fn receive<'b>(
        &mut self,
        buffer: &'b mut PacketBuffer,
    ) -> Result<Packet<'b, R>, ChannelError> {
        let (length, descriptors) = self.receive_packet(buffer)?;
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
                self.gate.admit_data().map_err(ChannelError::Refused)?;
                if !descriptors.is_empty() {
                    return Err(ChannelError::Refused(Refused::Descriptors("data")));
                }
                Ok(Packet::Data {
                    announced: None,
                    bytes: payload,
                    last: *tag == codec::TAG_LAST,
                })
            }
            codec::TAG_FIRST | codec::TAG_WHOLE => {
                let (message, bytes) =
                    codec::split_announcement(payload).map_err(ChannelError::Codec)?;
                Ok(Packet::Data {
                    announced: Some(self.admit(message, descriptors.len(), true)?),
                    bytes,
                    last: *tag == codec::TAG_WHOLE,
                })
            }
            tag => Err(ChannelError::UnknownTag(tag)),
        }
    }

    /// Decodes a message, and checks it against its row of the permit table.
    fn admit(&mut self, encoded: &[u8], count: usize, with_data: bool) -> Result<R, ChannelError> {
        let message = codec::decode::<R>(encoded).map_err(ChannelError::Codec)?;
        let admitted = self.gate.admit(&message, count, with_data);
        admitted.map(|()| message).map_err(ChannelError::Refused)
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
                    let truncated = packet.flags.contains(MsgFlags::MSG_TRUNC);
                    let surplus = packet.flags.contains(MsgFlags::MSG_CTRUNC);
                    let length = packet.bytes;
                    let descriptors = take_descriptors(&packet)?;
                    if surplus {
                        return Err(ChannelError::Refused(Refused::Descriptors("packet")));
                    }
                    if truncated {
                        return Err(ChannelError::Truncated);
                    }
                    return Ok((length, descriptors));
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

impl<S: Serialize, R: Message> AsFd for Channel<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Wipes the encoded form of a message, because the message may hold a secret. No message to or
/// from a worker holds one.
fn wipe(encoded: &mut [u8]) {
    #[cfg(feature = "server")]
    zeroize::Zeroize::zeroize(encoded);
    #[cfg(not(feature = "server"))]
    let _ = encoded;
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

fn failed(errno: Errno) -> ChannelError {
    match errno {
        Errno::EAGAIN => ChannelError::WouldBlock,
        Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN => ChannelError::Closed,
        errno => ChannelError::System(errno),
    }
}

#[cfg(test)]
mod tests;
