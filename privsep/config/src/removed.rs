//! Keys that earlier versions had and this one has not. popward-config refuses a file with such a
//! key. The error says what to do instead.

use serde::de::{Deserialize, Deserializer, Error};

/// `[bulletins]`, and `bulletins` in `[[account]]`.
pub(crate) const BULLETINS: usize = 0;
/// `pop3.last`.
pub(crate) const LAST: usize = 1;
/// `lock.yield_idle`.
pub(crate) const YIELD_IDLE: usize = 2;
/// `spool.uidl`.
pub(crate) const UIDL: usize = 3;

/// `auth.failure_delay_ms`.
pub(crate) const FAILURE_DELAY_MS: usize = 4;

/// The names of these keys in their tables.
pub(crate) const REMOVED: [&str; 6] = [
    "bulletins",
    "last",
    "lock",
    "yield_idle",
    "uidl",
    "failure_delay_ms",
];

/// The error for each key, in the order of the numbers above.
const ADVICE: [&str; 5] = [
    "bulletins was removed: deliver a message to each user instead",
    "pop3.last was removed: clients that need it are older than UIDL (RFC 1725)",
    "lock.yield_idle was removed: a session holds its locks until it ends; use a shorter limits.idle",
    "spool.uidl was removed: adopt.from names the mail that is there before a user's first session; later mail has popward's own names",
    "auth.failure_delay_ms was removed: write auth.failure_delay, a time with its unit, such as \"2s\"",
];

/// A removed key. `KEY` is its position in [`ADVICE`]. Deserializing it always fails, so a value
/// exists only by default, if the file does not have the key.
#[derive(Debug, Default)]
pub(crate) struct Removed<const KEY: usize>;

impl<'de, const KEY: usize> Deserialize<'de> for Removed<KEY> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(ADVICE[KEY]))
    }
}
