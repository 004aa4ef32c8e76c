//! Networks of addresses.

mod notation;
mod peers;

use crate::bounded::OutOfBounds;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
}

fn mask_32(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_128(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
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
