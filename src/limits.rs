//! Who may connect: how many in all and from one address, and how often a refusal is worth a log line.

use popward_proto::monitor_front::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 one, since a host has a /64 to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    /// What `peer` counts as.
    pub(crate) fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// Why somebody was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// As many connections as there may be in all.
    InAll,
    /// As many as there may be from one address.
    FromAddress,
}

impl std::fmt::Display for TooMany {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::InAll => "too many connections",
            Self::FromAddress => "too many connections from one address",
        })
    }
}

/// The connections that are open, counted.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: u32,
    by_address: HashMap<Address, u32>,
}

impl Admission {
    /// Counts a connection from `peer`, if there may be one more.
    pub(crate) fn admit(&mut self, peer: IpAddr, limits: &Limits) -> Result<(), TooMany> {
        if self.open >= limits.connections {
            return Err(TooMany::InAll);
        }
        let address = Address::of(peer);
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        if here >= limits.connections_per_address {
            return Err(TooMany::FromAddress);
        }
        self.by_address.insert(address, here + 1);
        self.open += 1;
        Ok(())
    }

    /// Takes a connection that was admitted out of the count.
    pub(crate) fn leave(&mut self, peer: IpAddr) {
        self.open = self.open.saturating_sub(1);
        let address = Address::of(peer);
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }
}

/// How long nothing more is said about one address.
const HUSH: Duration = Duration::from_secs(60);

/// Addresses that are remembered at once. Beyond it, the oldest knowledge goes: more lines, not more memory.
const REMEMBERED: usize = 1024;

/// What was said lately: strangers must not be able to fill the log.
#[derive(Debug, Default)]
pub(crate) struct Hush {
    said: HashMap<Address, Instant>,
}

impl Hush {
    /// Whether a line about `peer` may be written now; if so, there is none for the next minute.
    pub(crate) fn may_say(&mut self, peer: IpAddr, now: Instant) -> bool {
        let address = Address::of(peer);
        let hushed = |said: &Instant| now.saturating_duration_since(*said) < HUSH;
        if self.said.get(&address).is_some_and(hushed) {
            return false;
        }
        if self.said.len() >= REMEMBERED {
            self.said.retain(|_, said| hushed(said));
        }
        if self.said.len() >= REMEMBERED {
            self.said.clear();
        }
        self.said.insert(address, now);
        true
    }
}

#[cfg(test)]
mod tests;
