//! What the front's filter forbids on sockets that others have too, and what it permits on them. A
//! filter cannot be removed. So each call is made by a process of its own: this test binary, started
//! again.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::FRONT;
use mio::net::{TcpListener, TcpStream};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{self, MsgFlags, Shutdown, SockaddrIn, setsockopt, sockopt};
use popward_sys::{channel, confine, seccomp};
use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};

const CALL: &str = "POPWARD_FRONT_CALL";

/// The sockets of a front: one that listens, and a client's.
struct Sockets {
    listener: TcpListener,
    address: SockaddrIn,
    client: TcpStream,
}

impl Sockets {
    fn send(&self, flags: MsgFlags, to: Option<&SockaddrIn>) {
        let (fd, bytes) = (self.listener.as_raw_fd(), [IoSlice::new(b"x")]);
        let _ = socket::sendmsg(fd, &bytes, &[], flags, to);
    }
}

type Call = (&'static str, fn(&mut Sockets));

/// Each of these would change a listening socket for all that have it, or use one to connect.
const FORBIDDEN: &[Call] = &[
    ("shutdown for reading", |sockets| {
        let _ = socket::shutdown(sockets.listener.as_raw_fd(), Shutdown::Read);
    }),
    ("shutdown in both directions", |sockets| {
        let _ = socket::shutdown(sockets.listener.as_raw_fd(), Shutdown::Both);
    }),
    ("setsockopt", |sockets| {
        let limit = nix::sys::time::TimeVal::new(1, 0);
        let _ = setsockopt(&sockets.listener, sockopt::ReceiveTimeout, &limit);
    }),
    ("fcntl F_SETFL", |sockets| {
        let _ = fcntl(&sockets.listener, FcntlArg::F_SETFL(OFlag::empty()));
    }),
    ("listen", |sockets| {
        let _ = socket::listen(&sockets.listener, socket::Backlog::MAXCONN);
    }),
    ("connect", |sockets| {
        let _ = socket::connect(sockets.listener.as_raw_fd(), &sockets.address);
    }),
    ("sendto with MSG_FASTOPEN and an address", |sockets| {
        let flags = MsgFlags::from_bits_retain(libc_fastopen());
        let fd = sockets.listener.as_raw_fd();
        let _ = socket::sendto(fd, b"x", &sockets.address, flags);
    }),
    ("sendto with an address", |sockets| {
        let fd = sockets.listener.as_raw_fd();
        let _ = socket::sendto(fd, b"x", &sockets.address, MsgFlags::MSG_NOSIGNAL);
    }),
    ("sendmsg with MSG_FASTOPEN", |sockets| {
        let flags = MsgFlags::from_bits_retain(libc_fastopen());
        let address = sockets.address;
        sockets.send(flags, Some(&address));
    }),
    ("recv with MSG_ERRQUEUE", |sockets| {
        let fd = sockets.client.as_raw_fd();
        let _ = socket::recv(fd, &mut [0], MsgFlags::MSG_ERRQUEUE);
    }),
    ("accept without SOCK_NONBLOCK", |sockets| {
        let _ = socket::accept4(sockets.listener.as_raw_fd(), socket::SockFlag::SOCK_CLOEXEC);
    }),
];

/// What a front does with its sockets.
const PERMITTED: &[Call] = &[
    ("accept", |sockets| {
        assert!(sockets.listener.accept().is_err());
    }),
    ("read and peek", |sockets| {
        assert!(sockets.client.peek(&mut [0]).is_err());
        assert!(sockets.client.read(&mut [0]).is_err());
    }),
    ("write", |sockets| {
        sockets.client.write_all(b"x").unwrap();
        let parts = [IoSlice::new(b"y"), IoSlice::new(b"z")];
        assert_eq!(sockets.client.write_vectored(&parts).unwrap(), 2);
        let _ = sockets.client.shutdown(std::net::Shutdown::Write);
    }),
];

fn libc_fastopen() -> i32 {
    popward_sys::libc::MSG_FASTOPEN
}

/// Makes the call of this name under the front's filter, and ends the process.
fn make(name: &str) -> ! {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(address).unwrap();
    let SocketAddr::V4(own) = listener.local_addr().unwrap() else {
        panic!("an IPv4 socket has an IPv4 address");
    };
    let connected = std::net::TcpStream::connect(own).unwrap();
    let client = loop {
        // The connection may not have arrived yet.
        if let Ok((client, _)) = listener.accept() {
            break client;
        }
    };
    let address = SockaddrIn::from(SocketAddrV4::new(*own.ip(), own.port()));
    let mut sockets = Sockets {
        listener,
        address,
        client,
    };
    let mut calls = FORBIDDEN.iter().chain(PERMITTED);
    let (_, call) = calls.find(|(other, _)| *other == name).unwrap();
    confine::harden(64).unwrap();
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, FRONT]).unwrap();
    call(&mut sockets);
    drop(connected);
    exit(0)
}

#[test]
fn p1_a_front_can_neither_damage_a_listening_socket_nor_connect() {
    if let Ok(name) = std::env::var(CALL) {
        make(&name);
    }
    let own = std::env::current_exe().unwrap();
    let test = "syscalls::tests::p1_a_front_can_neither_damage_a_listening_socket_nor_connect";
    for (name, _) in FORBIDDEN.iter().chain(PERMITTED) {
        let mut command = Command::new(&own);
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        let output = command.env(CALL, name).output().unwrap();
        let forbidden = FORBIDDEN.iter().any(|(other, _)| other == name);
        let expected = forbidden.then_some(popward_sys::libc::SIGSYS);
        assert_eq!(output.status.signal(), expected, "{name}: {output:?}");
        assert!(forbidden || output.status.success(), "{name}: {output:?}");
    }
}
