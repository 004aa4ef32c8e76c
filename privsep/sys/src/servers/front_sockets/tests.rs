//! The options that connections inherit from a listening socket, and a socket that was damaged.

use super::*;
use nix::sys::socket::{Shutdown, getsockopt, shutdown};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Binds a socket to a port by its number, as the server does. A socket that the kernel gave a port
/// loses the port when it is shut down.
fn bound() -> Option<TcpListener> {
    let free = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
    TcpListener::bind(free).ok()
}

/// A socket that listens, and its address.
fn listening() -> (TcpListener, std::net::SocketAddr) {
    // Another process may take the port in between.
    let listener = (0..100).find_map(|_| bound()).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = OwnedFd::from(listener);
    make_listening(&socket).unwrap();
    (TcpListener::from(socket), address)
}

/// Waits for the connection, which may need a moment, because the socket does not block.
fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept() {
            Ok((connection, _)) => return connection,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn p2_connections_inherit_the_options_that_end_dead_peers() {
    let (listener, address) = listening();
    let _client = TcpStream::connect(address).unwrap();
    let connection = accept(&listener);
    assert!(getsockopt(&connection, sockopt::KeepAlive).unwrap());
    assert!(getsockopt(&connection, sockopt::TcpNoDelay).unwrap());
    assert_eq!(getsockopt(&connection, sockopt::TcpKeepIdle).unwrap(), 120);
    assert_eq!(
        getsockopt(&connection, sockopt::TcpKeepInterval).unwrap(),
        30
    );
    assert_eq!(getsockopt(&connection, sockopt::TcpKeepCount).unwrap(), 4);
}

#[test]
fn a_socket_that_was_shut_down_listens_again() {
    let (listener, address) = listening();
    shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
    TcpStream::connect(address).unwrap_err();
    let socket = OwnedFd::from(listener);
    make_listening(&socket).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    accept(&TcpListener::from(socket));
}
