//! Proxies, which connect for their clients: the PROXY protocol before a connection's first byte,
//! and XCLIENT before its login.

pub(crate) mod connection;
pub mod header;
pub mod xclient;

use header::Origin;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{FrontSettings, Plaintext};
use std::net::{IpAddr, SocketAddr};

/// The proxy through which, or from which, a connection comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// The proxy's address.
    pub(crate) address: IpAddr,
    /// Whether the proxy said that its client came over TLS, and is trusted in this.
    pub(crate) tls: bool,
    /// The proxy's own name for the session.
    pub(crate) session: Option<Text<{ xclient::SESSION_MAX }>>,
}

/// The peer of a connection: the client's address and, if there is one, the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The client's address. It is the proxy's address until the proxy names a client.
    pub(crate) address: SocketAddr,
    /// The proxy, if there is one.
    pub(crate) proxy: Option<Box<Proxy>>,
}

impl Peer {
    /// The peer of a connection without a PROXY header. The peer may be a proxy that uses XCLIENT.
    pub(crate) fn direct(address: SocketAddr, settings: &FrontSettings) -> Self {
        let proxy = Proxy {
            address: address.ip(),
            tls: false,
            session: None,
        };
        let speaks = settings.proxies.xclient.contain(address.ip());
        let proxy = speaks.then(|| Box::new(proxy));
        Self { address, proxy }
    }

    /// The peer of a connection whose PROXY header gives this origin.
    pub(crate) fn through(proxy: SocketAddr, origin: Origin, settings: &FrontSettings) -> Self {
        let (address, over_tls) = match origin {
            Origin::Proxy => (proxy, false),
            Origin::Client { source, tls } => (source, tls),
        };
        let proxy = Proxy {
            address: proxy.ip(),
            tls: over_tls && settings.proxies.tls.contain(proxy.ip()),
            session: None,
        };
        let proxy = Some(Box::new(proxy));
        Self { address, proxy }
    }

    /// The client's address, without the port.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The client's port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a trusted proxy says that the client came to it over TLS.
    pub(crate) fn came_over_tls(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.tls)
    }

    /// Whether this peer may send a password without TLS. A client behind a proxy never counts as
    /// this host, even with a loopback address.
    pub(crate) fn may_send_plainly(&self, settings: &FrontSettings) -> bool {
        match (&self.proxy, settings.plaintext) {
            (_, Plaintext::Never) => false,
            (_, Plaintext::Always) => true,
            (Some(proxy), Plaintext::Loopback) => settings.proxies.plaintext.contain(proxy.address),
            (None, Plaintext::Loopback) => self.address.ip().is_loopback(),
        }
    }

    /// Whether this peer may send XCLIENT. A client that a PROXY header names may not, even if its
    /// address is a proxy's.
    pub(crate) fn may_forward(&self, settings: &FrontSettings) -> bool {
        let named = self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.address != self.address.ip());
        !named && settings.proxies.xclient.contain(self.address.ip())
    }

    /// The address that auth gets, to count failed logins and to find exempt clients. A client
    /// behind a proxy that claims a loopback address gets the proxy's address, because loopback
    /// means this host.
    pub(crate) fn seen_by_auth(&self) -> IpAddr {
        match &self.proxy {
            Some(proxy) if self.address.ip().is_loopback() => proxy.address,
            _ => self.address.ip(),
        }
    }
}
