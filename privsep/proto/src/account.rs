//! The names of sessions and fronts, and accounts.

#[cfg(feature = "server")]
mod granted;

#[cfg(feature = "server")]
pub use granted::Account;
use serde::{Deserialize, Serialize};

/// The number of a front process. Each number is given once: a monitor gives those of its own
/// range, and the supervisor gives each monitor another range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrontId(pub u32);

/// The id of one client's connection, from accept to close. It names the connection in messages and
/// in log lines.
///
/// The upper half is the front's number. The lower half counts that front's connections. So no two
/// sessions of one monitor have the same id, and a receiver sees at once if a front names a session
/// of another front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(u64);

impl std::fmt::Display for SessionId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:x}.{:x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Most supplementary groups of a worker. An account with more is refused.
pub const GROUPS_MAX: usize = 256;
