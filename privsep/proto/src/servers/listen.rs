//! Where to listen, and which connections begin with a PROXY header.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Most listening sockets: as many as a front can wait for.
pub const LISTENERS_MAX: usize = 61;

/// An address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS begins with the connection.
    pub tls: bool,
    /// Which connections begin with a PROXY header.
    pub headers: ProxyHeaders,
}

/// How a listener treats connections from the proxies that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyHeaders {
    /// Like other connections: none begins with a header.
    Off,
    /// Each begins with a header. Other connections do not.
    FromProxies,
    /// Each begins with a header. Other connections are refused.
    Only,
}
