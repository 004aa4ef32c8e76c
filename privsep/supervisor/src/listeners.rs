//! The listening sockets. The supervisor binds them, or gets them from systemd
//! (`sd_listen_fds(3)`). Only fronts accept connections from them.

use popward_proto::listen::{LISTENERS_MAX, ProxyHeaders};
use popward_proto::supervisor_config::SupervisorSettings;
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

/// Takes the sockets that systemd gave (each with whether TLS begins with the connection), and
/// binds the configured addresses.
///
/// # Errors
///
/// In words for the operator: there is no socket, there are more than [`LISTENERS_MAX`], an address
/// cannot be bound, a socket from systemd cannot be used, or a listener needs a certificate.
pub(crate) fn open(
    settings: &SupervisorSettings,
    given: Vec<(OwnedFd, bool)>,
) -> Result<Vec<Listener>, String> {
    let configured = settings.listen.as_slice();
    let count = given.len() + configured.len();
    if count > LISTENERS_MAX {
        return Err(format!(
            "expected at most {LISTENERS_MAX} listening sockets, with those of systemd's, not {count}"
        ));
    }
    let mut listeners = Vec::new();
    for (socket, tls) in given {
        let given = listener(TcpListener::from(socket), tls, ProxyHeaders::FromProxies);
        let failed = |error| format!("a socket that systemd gave cannot be used: {error}");
        listeners.push(given.map_err(failed)?);
    }
    for listen in configured {
        let (address, tls, headers) = (listen.address, listen.tls, listen.headers);
        let bound = TcpListener::bind(address);
        let bound = bound.and_then(|socket| listener(socket, tls, headers));
        let failed = |error| format!("cannot listen at {address}: {error}");
        listeners.push(bound.map_err(failed)?);
    }
    if listeners.is_empty() {
        let nothing =
            "nothing to listen at: no [[listen]] in the configuration, no socket of systemd's";
        return Err(nothing.to_owned());
    }
    if listeners.iter().any(|listener| listener.tls) && !settings.certificate {
        return Err("a listener has tls = true, and there is no [[certificate]]".to_owned());
    }
    Ok(listeners)
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
