//! Which addresses are in a network, and which addresses count as one source.

use super::{Network, mask_32, mask_128};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Network {
    /// The network of `peer` with a prefix of `four` bits (at most 32) for IPv4, or of `six` bits
    /// (at most 128) for IPv6.
    pub fn of(peer: IpAddr, four: u8, six: u8) -> Self {
        let (four, six) = (four.min(32), six.min(128));
        match peer.to_canonical() {
            IpAddr::V4(peer) => Self {
                address: Ipv4Addr::from_bits(peer.to_bits() & mask_32(four)).into(),
                length: four,
            },
            IpAddr::V6(peer) => Self {
                address: Ipv6Addr::from_bits(peer.to_bits() & mask_128(six)).into(),
                length: six,
            },
        }
    }

    /// The source of `peer`: its IPv4 address, or its IPv6 /64, because one host usually has a
    /// whole /64.
    pub fn source(peer: IpAddr) -> Self {
        Self::of(peer, 32, 64)
    }

    /// The first address of the network.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether `peer` is in this network.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                own.to_bits() == peer.to_bits() & mask_32(self.length)
            }
            (IpAddr::V6(own), IpAddr::V6(peer)) => {
                own.to_bits() == peer.to_bits() & mask_128(self.length)
            }
            _ => false,
        }
    }
}
