//! The listening sockets. The supervisor binds them, or gets them from systemd
//! (`sd_listen_fds(3)`). Only fronts accept connections from them.

use popward_proto::listen::{LISTENERS_MAX, Listen, ProxyHeaders};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// A socket that fronts accept from.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The socket.
    pub(crate) socket: OwnedFd,
    /// The address that it listens at, for the log.
    pub(crate) address: SocketAddr,
    /// Whether TLS begins with the connection.
    pub(crate) tls: bool,
    /// Which connections begin with a PROXY header.
    pub(crate) headers: ProxyHeaders,
}

/// Why there is no socket to listen at.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// An address could not be bound.
    Bind(SocketAddr, std::io::Error),
    /// A socket from systemd is no listening TCP socket.
    Given(std::io::Error),
    /// The configuration has no `[[listen]]`, and systemd gave no socket.
    Nothing,
    /// There are more sockets than a front can wait for.
    TooMany(usize),
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(address, error) => write!(out, "cannot listen at {address}: {error}"),
            Self::Given(error) => write!(out, "a socket that systemd gave cannot be used: {error}"),
            Self::Nothing => out.write_str(
                "nothing to listen at: no [[listen]] in the configuration, no socket of systemd's",
            ),
            Self::TooMany(count) => write!(
                out,
                "expected at most {LISTENERS_MAX} listening sockets, with those of systemd's, not {count}"
            ),
        }
    }
}

/// Takes the sockets that systemd gave (each with whether TLS begins with the connection), and
/// binds the configured addresses.
///
/// # Errors
///
/// There is no socket, there are more than [`LISTENERS_MAX`], an address cannot be bound, or a
/// socket from systemd cannot be used.
pub(crate) fn open(
    configured: &[Listen],
    given: Vec<(OwnedFd, bool)>,
) -> Result<Vec<Listener>, ListenError> {
    let count = given.len() + configured.len();
    if count > LISTENERS_MAX {
        return Err(ListenError::TooMany(count));
    }
    let mut listeners = Vec::new();
    for (socket, tls) in given {
        let given = listener(TcpListener::from(socket), tls, ProxyHeaders::FromProxies);
        listeners.push(given.map_err(ListenError::Given)?);
    }
    for Listen {
        address,
        tls,
        headers,
    } in configured
    {
        let bound = TcpListener::bind(address);
        let bound = bound.and_then(|socket| listener(socket, *tls, *headers));
        listeners.push(bound.map_err(|error| ListenError::Bind(*address, error))?);
    }
    if listeners.is_empty() {
        Err(ListenError::Nothing)
    } else {
        Ok(listeners)
    }
}

fn listener(socket: TcpListener, tls: bool, headers: ProxyHeaders) -> std::io::Result<Listener> {
    let address = socket.local_addr()?;
    let socket = OwnedFd::from(socket);
    popward_sys::front_sockets::make_listening(&socket)?;
    Ok(Listener {
        socket,
        address,
        tls,
        headers,
    })
}
