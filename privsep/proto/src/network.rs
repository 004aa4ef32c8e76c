//! Networks of addresses, and which addresses count as one source.

use crate::bounded::OutOfBounds;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address and a prefix length in bits. IPv4 addresses in IPv6 form
/// (`::ffff:192.0.2.1`) count as IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// The network of `address` with a prefix of `length` bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, OutOfBounds> {
        let (address, length) = match address {
            IpAddr::V6(six) => match six.to_ipv4_mapped() {
                Some(four) if length >= 96 => (IpAddr::V4(four), length - 96),
                _ => (address, length),
            },
            IpAddr::V4(_) => (address, length),
        };
        match address {
            IpAddr::V4(four) if length <= 32 => Ok(Self {
                address: IpAddr::V4((four.to_bits() & mask_32(length)).into()),
                length,
            }),
            IpAddr::V6(six) if length <= 128 => Ok(Self {
                address: IpAddr::V6((six.to_bits() & mask_128(length)).into()),
                length,
            }),
            _ => Err(OutOfBounds("a network longer than its address")),
        }
    }

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

fn mask_32(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_128(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl std::str::FromStr for Network {
    type Err = OutOfBounds;
    /// Parses `192.0.2.0/24`, `2001:db8::/32`, or an address alone. Bits behind the prefix are
    /// ignored.
    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| OutOfBounds("no address"))?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        // `parse` would accept a plus sign.
        let digits = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
        let length = match length {
            None => whole,
            Some(length) if digits(length) => length
                .parse()
                .map_err(|_| OutOfBounds("no network's length"))?,
            Some(_) => return Err(OutOfBounds("no network's length")),
        };
        Self::new(address, length)
    }
}

impl TryFrom<(IpAddr, u8)> for Network {
    type Error = OutOfBounds;
    fn try_from((address, length): (IpAddr, u8)) -> Result<Self, OutOfBounds> {
        Self::new(address, length)
    }
}

impl From<Network> for (IpAddr, u8) {
    fn from(network: Network) -> Self {
        (network.address, network.length)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_exactly_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77/24", "192.0.2.1", "193.0.2.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:192.0.3.9"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network}");
            assert!(!network.contains(outside.parse().unwrap()), "{network}");
        }
        for wrong in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/+8",
            "1.2.3/8",
            "a/8",
            "::/",
            "1.2.3.4/-1",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn p8_an_ipv6_source_is_a_slash_64() {
        let source = |peer: &str| Network::source(peer.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
