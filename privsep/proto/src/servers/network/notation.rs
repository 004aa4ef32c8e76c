//! Networks as text, for the configuration.

use super::Network;
use crate::bounded::OutOfBounds;
use std::net::IpAddr;

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

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.length)
    }
}
