//! Who may connect: how many in all, from one address and from one prefix, how many a minute; and how often a refusal is
//! worth a log line. Pure: it is told the time.

use popward_proto::monitor_front::Limits;
use popward_proto::network::Network;
use popward_proto::proxies::Proxies;
use popward_sys::log_rate_limit::LogRateLimit;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What counts as one prefix: what is given to one customer or one company.
fn prefix(peer: IpAddr) -> Network {
    Network::of(peer, 24, 48)
}

/// As what a connection is counted, until it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// A client of this address.
    Client(IpAddr),
    /// A proxy that has not said for whom it speaks, or speaks for itself.
    Proxy,
}

/// Why somebody was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TooMany {
    /// As many connections as there may be in all.
    InAll,
    /// As many as there may be before a login.
    Unauthenticated,
    /// As many as there may be from one address.
    FromAddress,
    /// As many as there may be from one prefix.
    FromPrefix,
    /// One address makes new ones faster than it may.
    InAMinute,
    /// As many as there may be of proxies that have not said for whom.
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
            Self::OfProxies => "too many connections of proxies that do not say for whom",
        })
    }
}

/// Lowers what is configured to `most` connections, if that is fewer, and the strangers' share with it: what only sessions
/// can fill stays as large a part. Returns whether it did.
pub(crate) fn lower(limits: &mut Limits, most: u32) -> bool {
    if limits.connections <= most {
        return false;
    }
    let share = u64::from(limits.unauthenticated) * u64::from(most) / u64::from(limits.connections);
    // Not more than `most`, since it was not more than what was configured. Without a stranger nobody would get in at all.
    limits.unauthenticated = u32::try_from(share).unwrap_or(most).max(1);
    limits.connections = most;
    true
}

/// The connections that are open, counted.
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
    /// Counts a connection, if there may be one more of its party. Whether there may be one more in all is for the caller
    /// to see, who can make room. `hurries`: whether it is counted by the minute as well.
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

    /// A proxy has said that its connection, counted as `before`, is `peer`'s.
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

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }
}

/// Over which time new connections of an address are evened out.
const MINUTE: Duration = Duration::from_secs(60);

/// Addresses whose rate is remembered in each of two generations. Beyond it the older one goes: who makes more is let in
/// more often, and takes no more memory.
const RATES: usize = 16_384;

/// How fast addresses make connections. A bucket of as many tokens as are permitted a minute, which fills in a minute:
/// kept as the time at which it will be full.
#[derive(Debug, Default)]
struct Rate {
    young: HashMap<Network, Instant>,
    old: HashMap<Network, Instant>,
}

impl Rate {
    /// Whether `address` may make a connection now; if so, it has made one.
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

/// What was said lately: strangers must not be able to fill the log.
#[derive(Debug, Default)]
pub(crate) struct Said {
    addresses: LogRateLimit<Network>,
    general: LogRateLimit<(&'static str, TooMany)>,
}

impl Said {
    /// Whether a line about `peer` may be written now; if so, there is none for the next minute.
    pub(crate) fn may_say(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.addresses.may_log(Network::source(peer), now).is_some()
    }

    /// Whether this line may be written now about what concerns everybody, whoever met it: then, how often it was met since
    /// the line before.
    pub(crate) fn may_say_of_all(
        &mut self,
        line: &'static str,
        why: TooMany,
        now: Instant,
    ) -> Option<u32> {
        self.general.may_log((line, why), now)
    }
}

#[cfg(test)]
pub(crate) mod tests;
