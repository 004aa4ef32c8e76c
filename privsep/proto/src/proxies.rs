//! What a front is told about proxies: which hosts are some, and what is taken on their word.

use crate::bounded::List;
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most networks of one kind.
pub const NETWORKS_MAX: usize = 32;

/// Some networks.
pub type Networks = List<Network, NETWORKS_MAX>;

impl Networks {
    /// Whether `peer` is in one of them.
    pub fn contain(&self, peer: IpAddr) -> bool {
        self.as_slice().iter().any(|network| network.contains(peer))
    }
}

/// Whom a front believes what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    /// From these, connections begin with a PROXY header.
    pub networks: Networks,
    /// These may say XCLIENT.
    pub xclient: Networks,
    /// Of these it is believed that their client came over TLS, where their header (version 2) says so.
    pub tls: Networks,
    /// From these, passwords are taken without TLS, whoever their client is.
    pub plaintext: Networks,
    /// For a header to come, in milliseconds.
    pub header_ms: u32,
    /// Most connections at once of which it is not known whose they are: before their header or XCLIENT, and checks.
    pub connections: u32,
}

/// How a listener takes the connections that `Proxies::networks` make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyHeaders {
    /// Like anybody's: none begins with a header.
    Off,
    /// Each begins with one. Others' do not.
    FromProxies,
    /// The same, and others are turned away.
    Only,
}
