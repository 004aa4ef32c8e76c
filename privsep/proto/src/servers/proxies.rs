//! The settings about proxies: which hosts are proxies, and which of their claims a front believes.

use crate::bounded::List;
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most networks in one list.
pub const NETWORKS_MAX: usize = 32;

/// A list of networks.
pub type Networks = List<Network, NETWORKS_MAX>;

impl Networks {
    /// Whether `peer` is in one of the networks.
    pub fn contain(&self, peer: IpAddr) -> bool {
        self.as_slice().iter().any(|network| network.contains(peer))
    }
}

/// Which proxies a front believes, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    /// Connections from these begin with a PROXY header.
    pub networks: Networks,
    /// Clients from these may use XCLIENT.
    pub xclient: Networks,
    /// These may claim, in a PROXY header of version 2, that their client uses TLS.
    pub tls: Networks,
    /// Passwords from these are accepted without TLS, whoever their client is.
    pub plaintext: Networks,
    /// Longest wait for a header, in milliseconds.
    pub header_ms: u32,
    /// Most connections at once from proxies whose client is not known: before their header or
    /// XCLIENT, and a proxy's health checks.
    pub connections: u32,
}
