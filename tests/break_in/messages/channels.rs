//! Finds the channels between processes, takes an end of one, and speaks on it in the name of its
//! owner.

use super::super::host::{is_dead, until};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, NetlinkAddr, SockFlag,
    SockProtocol, SockType, bind, recv, recvmsg, sendmsg, sendto, socket,
};
use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What the kernel says of a local socket.
#[derive(Debug, Clone, Copy)]
pub struct Socket {
    /// The inode of the other end.
    pub peer: u32,
    /// How many bytes lie there and are not read.
    pub unread: u32,
}

/// All connected local sockets of this network namespace, by their inodes (`sock_diag(7)`).
pub fn sockets() -> Result<BTreeMap<u32, Socket>, Errno> {
    const SHOW_PEER_AND_QUEUES: u32 = 0x4 | 0x10;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let dump = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    // The header: length, SOCK_DIAG_BY_FAMILY, flags, sequence, sender. Then the question: family
    // and protocol, states, inode, what to show, cookie.
    let mut question = Vec::new();
    question.extend(40u32.to_ne_bytes());
    question.extend(20u16.to_ne_bytes());
    question.extend(dump.to_ne_bytes());
    for word in [
        1,
        0,
        libc::AF_UNIX as u32,
        u32::MAX,
        0,
        SHOW_PEER_AND_QUEUES,
        0,
        0,
    ] {
        question.extend(u32::to_ne_bytes(word));
    }
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &question, &kernel, MsgFlags::empty())?;
    let mut found = BTreeMap::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let (size, kind) = (word(rest, 0) as usize, half(rest, 4));
            match kind {
                3 => return Ok(found),
                2 => return Err(Errno::from_raw(-(word(rest, 16) as i32))),
                _ => {}
            }
            let (mut peer, mut unread) = (0, 0);
            let mut attributes = &rest[32..size];
            while attributes.len() >= 4 {
                let (size, kind) = (usize::from(half(attributes, 0)), half(attributes, 2));
                match kind {
                    2 => peer = word(attributes, 4),
                    4 => unread = word(attributes, 4),
                    _ => {}
                }
                attributes = attributes
                    .get(size.next_multiple_of(4)..)
                    .unwrap_or_default();
            }
            found.insert(word(rest, 20), Socket { peer, unread });
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// What the descriptors of a process lead to, as `/proc` says it.
pub fn links(pid: i32) -> BTreeMap<RawFd, String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.into_iter().flatten().flatten();
    let link = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        Some((number, target.display().to_string()))
    };
    entries.filter_map(link).collect()
}

/// The inode of a socket, from what `/proc` says.
pub fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The channels from `from` to `to`: descriptor and the other end's inode, in the order of the
/// descriptors.
pub fn between(from: i32, to: i32) -> Vec<(RawFd, u32)> {
    let sockets = sockets().unwrap();
    let theirs: Vec<u32> = links(to).values().filter_map(|link| inode(link)).collect();
    let own = links(from).into_iter();
    let own = own.filter_map(|(number, link)| Some((number, sockets.get(&inode(&link)?)?.peer)));
    own.filter(|(_, peer)| theirs.contains(peer)).collect()
}

/// An end of a channel that was taken from a process.
#[derive(Debug)]
pub struct Taken {
    pub end: OwnedFd,
    /// The inode of the other end.
    pub peer: u32,
}

/// Takes a descriptor of a process, which keeps it.
pub fn take(pid: i32, (number, peer): (RawFd, u32)) -> Taken {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let end = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).unwrap();
    Taken { end, peer }
}

impl Taken {
    /// Sends a packet with these descriptors.
    pub fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let end = self.end.as_raw_fd();
        sendmsg::<()>(end, &[IoSlice::new(packet)], control, flags, None).map(drop)
    }

    /// The next packet that lies at this end. An empty one: the other end is closed. `None`: there
    /// is none. Descriptors of the packet are closed.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 128 << 10];
        let mut control = cmsg_space!([RawFd; 8]);
        let parts = &mut [IoSliceMut::new(&mut packet)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(self.end.as_raw_fd(), parts, Some(&mut control), flags) {
            Ok(received) => {
                let length = received.bytes;
                for message in received.cmsgs().unwrap() {
                    if let ControlMessageOwned::ScmRights(numbers) = message {
                        numbers
                            .into_iter()
                            .for_each(|number| nix::unistd::close(number).unwrap());
                    }
                }
                packet.truncate(length);
                Some(packet)
            }
            Err(Errno::EAGAIN) => None,
            Err(_) => Some(Vec::new()),
        }
    }

    /// Whether bytes lie unread at the other end.
    pub fn is_unread(&self) -> bool {
        let sockets = sockets().unwrap();
        sockets.get(&self.peer).is_some_and(|peer| peer.unread > 0)
    }
}

/// Waits until a process is stopped.
pub fn stopped(pid: i32) {
    until("the process has stopped", || {
        is_dead(pid) || is_stopped(pid)
    });
}

/// Whether a process is stopped.
pub fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.contains(") T "))
}
