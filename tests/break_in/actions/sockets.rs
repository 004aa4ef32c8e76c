//! Sockets, and ways to reach somebody by one.

use super::super::scene::Scene;
use super::*;

/// Sockets, and ways to reach somebody by one.
pub(super) fn all(scene: &Scene) -> Vec<Action> {
    let port = scene.port.to_be_bytes();
    let internet =
        |port: [u8; 2]| bytes(&[&[2, 0, port[0], port[1], 127, 0, 0, 1][..], &[0; 8]].concat());
    let local = |name: &[u8]| [&[1, 0], name].concat();
    let reach = |name: &[u8]| {
        [
            Returned(0),
            bytes(&local(name)),
            Number(2 + name.len() as i64),
        ]
    };
    let stream = [socket(libc::AF_INET, libc::SOCK_STREAM, 0)];
    let datagram = [socket(libc::AF_INET, libc::SOCK_DGRAM, 0)];
    let unix = [socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)];
    let makes = |name, family, kind, protocol| Action {
        call: socket(family, kind, protocol),
        ..Action::new(name, 0, &[])
    };
    let by_path = [
        scene.at("public/socket").to_str().unwrap().as_bytes(),
        b"\0",
    ]
    .concat();
    let fast = flags(libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL);
    let send = |flags: Argument, port| {
        [
            Returned(0),
            bytes(b"x"),
            Number(1),
            flags,
            internet(port),
            Number(16),
        ]
    };
    let quiet = || flags(libc::MSG_NOSIGNAL);
    let null = Number(0);
    let socket_only: &[Errno] = &[Errno::ENOTSOCK];
    vec![
        makes("makes an IPv4 socket", libc::AF_INET, libc::SOCK_STREAM, 0),
        makes("makes an IPv6 socket", libc::AF_INET6, libc::SOCK_STREAM, 0),
        makes("makes a UDP socket", libc::AF_INET, libc::SOCK_DGRAM, 0),
        makes(
            "makes a raw socket",
            libc::AF_INET,
            libc::SOCK_RAW,
            libc::IPPROTO_ICMP,
        ),
        makes(
            "makes a local stream socket",
            libc::AF_UNIX,
            libc::SOCK_STREAM,
            0,
        ),
        makes(
            "makes a local datagram socket",
            libc::AF_UNIX,
            libc::SOCK_DGRAM,
            0,
        ),
        makes(
            "makes a netlink socket",
            libc::AF_NETLINK,
            libc::SOCK_RAW,
            0,
        ),
        makes("makes a packet socket", libc::AF_PACKET, libc::SOCK_RAW, 0),
        makes(
            "makes a socket to a hypervisor",
            libc::AF_VSOCK,
            libc::SOCK_STREAM,
            0,
        )
        .by_host(ByHost::Always),
        makes(
            "makes a socket to the kernel's ciphers",
            libc::AF_ALG,
            libc::SOCK_SEQPACKET,
            0,
        )
        .by_host(ByHost::Always),
        Action::new(
            "connects over TCP",
            libc::SYS_connect,
            &[Returned(0), internet(port), Number(16)],
        )
        .after(&stream)
        .late(&[Errno::EINPROGRESS])
        .landlock(4),
        Action::new(
            "connects over TCP with its first data",
            libc::SYS_sendto,
            &send(fast, port),
        )
        // Landlock knows this way since some of its versions' corrections.
        .after(&stream)
        .late(&[Errno::EINPROGRESS])
        .by_host(ByHost::Always),
        Action::new(
            "sends to an address over UDP",
            libc::SYS_sendto,
            &send(quiet(), [0, 9]),
        )
        .after(&datagram),
        Action::new(
            "takes a TCP port",
            libc::SYS_bind,
            &[Returned(0), internet([0, 0]), Number(16)],
        )
        .after(&stream)
        .landlock(4),
        Action::new(
            "connects to a local socket by its path",
            libc::SYS_connect,
            &reach(&by_path),
        )
        .after(&unix),
        Action::new(
            "connects to an abstract socket",
            libc::SYS_connect,
            &reach(scene.abstract_socket().as_slice()),
        )
        .after(&unix)
        .landlock(6),
        // On a socket these would do their work. Descriptor 0 is the null device.
        Action::new(
            "shuts a socket down for all who have it",
            libc::SYS_shutdown,
            &[null.clone(), flags(libc::SHUT_RDWR)],
        )
        .late(socket_only),
        Action::new(
            "sets an option of a socket",
            libc::SYS_setsockopt,
            &[null.clone(), NULL, NULL, NULL, NULL],
        )
        .late(socket_only),
        Action::new(
            "makes a descriptor block for all who have it",
            libc::SYS_fcntl,
            &[null.clone(), flags(libc::F_SETFL), NULL],
        ),
        Action::new(
            "types into a terminal",
            libc::SYS_ioctl,
            &[null, Number(libc::TIOCSTI as i64), bytes(b"x")],
        )
        .late(&[Errno::ENOTTY]),
    ]
}
