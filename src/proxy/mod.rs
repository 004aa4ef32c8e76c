//! Those who speak for others: the PROXY protocol before a connection's first byte, and XCLIENT before its login.

pub(crate) mod caller;
pub mod header;
pub mod xclient;

use header::Origin;
use popward_proto::bounded::Text;
use popward_proto::monitor_front::{FrontSettings, Plaintext};
use std::net::{IpAddr, SocketAddr};

/// The proxy that a connection came through, or comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it said that its client came over TLS, and is believed.
    pub(crate) tls: bool,
    /// Its own name for the session.
    pub(crate) session: Option<Text<{ xclient::SESSION_MAX }>>,
}

/// Whose a connection is: its address and, where a proxy had a part in it, the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The client's address; the proxy's, where that has not said whose it is.
    pub(crate) address: SocketAddr,
    /// The proxy.
    pub(crate) proxy: Option<Box<Proxy>>,
}

impl Peer {
    /// Who connected, of whom no header is expected.
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

    /// Whose connection `proxy` says that it is.
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

    /// Its address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a proxy that is believed says that it came there over TLS.
    pub(crate) fn came_over_tls(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.tls)
    }

    /// Whether a password may come without TLS. A client behind a proxy is never this host, whatever its address.
    pub(crate) fn may_send_plainly(&self, settings: &FrontSettings) -> bool {
        match (&self.proxy, settings.plaintext) {
            (_, Plaintext::Never) => false,
            (_, Plaintext::Always) => true,
            (Some(proxy), Plaintext::Loopback) => settings.proxies.plaintext.contain(proxy.address),
            (None, Plaintext::Loopback) => self.address.ip().is_loopback(),
        }
    }

    /// Whether it may say XCLIENT: not whom a header only names.
    pub(crate) fn may_forward(&self, settings: &FrontSettings) -> bool {
        let named = self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.address != self.address.ip());
        !named && settings.proxies.xclient.contain(self.address.ip())
    }

    /// What auth counts failures by, and asks whether it is exempt: a client behind a proxy is never this host.
    pub(crate) fn seen_by_auth(&self) -> IpAddr {
        match &self.proxy {
            Some(proxy) if self.address.ip().is_loopback() => proxy.address,
            _ => self.address.ip(),
        }
    }
}
