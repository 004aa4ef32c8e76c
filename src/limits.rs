//! The limits on connections: how many from one address and from one prefix, how many a minute, and
//! how many of proxies. Also how often a refusal may be logged. No clock: the caller gives the
//! time.

use popward_proto::monitor_front::Limits;
use popward_proto::network::Network;
use popward_proto::proxies::Proxies;
use popward_sys::log_rate_limit::LogRateLimit;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The prefix of an address: /24 of IPv4, /48 of IPv6. One customer or one company usually gets a
/// network of this size.
fn prefix(peer: IpAddr) -> Network {
    Network::of(peer, 24, 48)
}

/// The party for which a connection is counted, from its admission to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// A client of this address.
    Client(IpAddr),
    /// A proxy that has not named its client, or that speaks for itself.
    Proxy,
}

/// The limit that did not admit a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TooMany {
    /// The limit on all connections.
    InAll,
    /// The limit on connections before a login.
    Unauthenticated,
    /// The limit on connections from one address.
    FromAddress,
    /// The limit on connections from one prefix.
    FromPrefix,
    /// The limit on new connections from one address in a minute.
    InAMinute,
    /// The limit on connections of proxies that have not named a client.
    OfProxies,
}

impl std::fmt::Display for TooMany {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::InAll => "too many connections",
            Self::Unauthenticated => "too many connections before login",
            Self::FromAddress => "too many connections from one address",
            Self::FromPrefix => "too many connections from one prefix",
            Self::InAMinute => "too many new connections from one address",
            Self::OfProxies => "too many connections of proxies that have named no client",
        })
    }
}

/// Lowers the limit on all connections to `most`, if it is higher. The limit on strangers is
/// lowered in proportion. The rest of the connections, which only logged-in sessions can use, keeps
/// its share. Returns whether it lowered them.
pub(crate) fn lower(limits: &mut Limits, most: u32) -> bool {
    if limits.connections <= most {
        return false;
    }
    let share = u64::from(limits.unauthenticated) * u64::from(most) / u64::from(limits.connections);
    // The share is at most `most`, because `unauthenticated` is at most `connections`. It is at
    // least 1: without strangers no client could get in.
    limits.unauthenticated = u32::try_from(share).unwrap_or(most).max(1);
    limits.connections = most;
    true
}

/// Counts of the open connections.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: u32,
    proxies: u32,
    by_address: HashMap<Network, u32>,
    by_prefix: HashMap<Network, u32>,
    rate: Rate,
}

fn count(counts: &HashMap<Network, u32>, network: Network) -> u32 {
    counts.get(&network).copied().unwrap_or(0)
}

fn leave(counts: &mut HashMap<Network, u32>, network: Network) {
    if let Some(here) = counts.get_mut(&network) {
        *here -= 1;
        if *here == 0 {
            counts.remove(&network);
        }
    }
}

impl Admission {
    /// Counts a connection, if the limits of its party permit one more. It does not check the
    /// limits on all connections and on strangers. The caller checks these, because it can make
    /// room. `hurries`: the limit by the minute applies too.
    pub(crate) fn admit(
        &mut self,
        party: Party,
        hurries: bool,
        (limits, proxies): (&Limits, &Proxies),
        now: Instant,
    ) -> Result<(), TooMany> {
        match party {
            Party::Proxy if self.proxies >= proxies.connections => return Err(TooMany::OfProxies),
            Party::Proxy => self.proxies += 1,
            Party::Client(peer) => self.count(peer, hurries, limits, now)?,
        }
        self.open += 1;
        Ok(())
    }

    fn count(
        &mut self,
        peer: IpAddr,
        hurries: bool,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), TooMany> {
        let (address, prefix) = (Network::source(peer), prefix(peer));
        if count(&self.by_address, address) >= limits.connections_per_address {
            return Err(TooMany::FromAddress);
        }
        if count(&self.by_prefix, prefix) >= limits.connections_per_prefix {
            return Err(TooMany::FromPrefix);
        }
        if hurries && !self.rate.take(address, limits.connections_per_minute, now) {
            return Err(TooMany::InAMinute);
        }
        *self.by_address.entry(address).or_default() += 1;
        *self.by_prefix.entry(prefix).or_default() += 1;
        Ok(())
    }

    /// Counts a connection for `peer`, because its proxy has named this client. It was counted as
    /// `before` until now. If a limit refuses, the count does not change.
    pub(crate) fn introduce(
        &mut self,
        before: Party,
        peer: IpAddr,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), TooMany> {
        self.count(peer, true, limits, now)?;
        self.forget(before);
        Ok(())
    }

    /// Takes a connection out of the count.
    pub(crate) fn leave(&mut self, party: Party) {
        self.open = self.open.saturating_sub(1);
        self.forget(party);
    }

    fn forget(&mut self, party: Party) {
        match party {
            Party::Proxy => self.proxies = self.proxies.saturating_sub(1),
            Party::Client(peer) => {
                leave(&mut self.by_address, Network::source(peer));
                leave(&mut self.by_prefix, prefix(peer));
            }
        }
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }
}

/// The time over which the new connections of an address are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Most addresses in each of the two generations of [`Rate`]. When the young one is full, the old
/// one is forgotten. An attacker with more addresses than this gets in more often, but uses no more
/// memory.
const RATES: usize = 16_384;

/// The rate at which addresses make connections. Each address has a bucket of `per_minute` tokens
/// that fills in a minute. The bucket is stored as the time at which it will be full.
#[derive(Debug, Default)]
struct Rate {
    young: HashMap<Network, Instant>,
    old: HashMap<Network, Instant>,
}

impl Rate {
    /// Takes a token of `address` for a new connection. Returns false, and takes nothing, if there
    /// is no token. `per_minute` 0 means no limit.
    fn take(&mut self, address: Network, per_minute: u32, now: Instant) -> bool {
        if per_minute == 0 {
            return true;
        }
        let known = self.young.get(&address).or_else(|| self.old.get(&address));
        let full = known.map_or(now, |full| now.max(*full)) + MINUTE / per_minute;
        if full > now + MINUTE {
            return false;
        }
        if self.young.len() >= RATES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(address, full);
        true
    }
}

/// The log lines of the last minute. They are remembered so that strangers cannot fill the log.
#[derive(Debug, Default)]
pub(crate) struct LogLimits {
    addresses: LogRateLimit<Network>,
    general: LogRateLimit<(&'static str, TooMany)>,
    /// By the number of the listener.
    accepts: LogRateLimit<usize>,
}

impl LogLimits {
    /// Whether a line about `peer` may be written now. If so, no other line about this source is
    /// permitted for a minute.
    pub(crate) fn may_log(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.addresses.may_log(Network::source(peer), now).is_some()
    }

    /// Whether a line about a limit of all clients may be written now. If so, returns how often the
    /// limit was met since the last line, this time included.
    pub(crate) fn may_log_limit(
        &mut self,
        line: &'static str,
        why: TooMany,
        now: Instant,
    ) -> Option<u32> {
        self.general.may_log((line, why), now)
    }

    /// Whether a line may be written now about a listener that accepts nothing. If so, returns how
    /// often it failed since the last line, this time included.
    pub(crate) fn may_log_accept(&mut self, listener: usize, now: Instant) -> Option<u32> {
        self.accepts.may_log(listener, now)
    }
}

#[cfg(test)]
pub(crate) mod tests;
