//! Tests of the options that connections inherit from a listening socket.

use super::*;
use nix::sys::socket::getsockopt;

#[test]
fn p2_connections_inherit_the_options_that_end_dead_peers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    keep_alive(&listener).unwrap();
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    assert!(getsockopt(&connection, sockopt::KeepAlive).unwrap());
    assert!(getsockopt(&connection, sockopt::TcpNoDelay).unwrap());
    assert_eq!(getsockopt(&connection, sockopt::TcpKeepIdle).unwrap(), 120);
    assert_eq!(
        getsockopt(&connection, sockopt::TcpKeepInterval).unwrap(),
        30
    );
    assert_eq!(getsockopt(&connection, sockopt::TcpKeepCount).unwrap(), 4);
}
