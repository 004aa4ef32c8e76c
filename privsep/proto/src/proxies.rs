//! What a front is told about proxies: which hosts are some, and what is taken on their word.

use crate::bounded::List;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most networks of one kind.
pub const NETWORKS_MAX: usize = 32;

/// Some networks.
pub type Networks = List<Network, NETWORKS_MAX>;

/// A network: an address of which only so many leading bits count; the others are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// The bits, at most 32 or 128.
    pub bits: u8,
}

impl Network {
    /// The network of `v4` or `v6` bits that `address` lies in. A mapped address (`::ffff:192.0.2.1`) is an IPv4 one.
    pub fn of(address: IpAddr, v4: u8, v6: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(v4.into()).unwrap_or(0);
                let address = Ipv4Addr::from_bits(address.to_bits() & !rest).into();
                Self { address, bits: v4 }
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(v6.into()).unwrap_or(0);
                let address = Ipv6Addr::from_bits(address.to_bits() & !rest).into();
                Self { address, bits: v6 }
            }
        }
    }

    /// Whether `peer` is in it.
    pub fn contains(&self, peer: IpAddr) -> bool {
        Self::of(peer, self.bits, self.bits).address == self.address
    }
}

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
pub enum Headers {
    /// Like anybody's: none begins with a header.
    Off,
    /// Each begins with one. Others' do not.
    FromProxies,
    /// The same, and others are turned away.
    Only,
}
