//! The messages that cross between popward's processes: their types, their bounds, and who may send
//! which when.
//!
//! Runs in every process, as whoever that process is. It does no I/O and reads no clock:
//! `popward-sys` carries what this crate spells. Each pair of processes has a file of its own, with
//! an enum for each direction. Beside each enum stands its *permit table* (`Message::permit`):
//! which kind of message may come in which phase, how often, and with how many descriptors. A kind
//! without a row does not compile.
//!
//! A receiver can rely on this, even if the sender is taken over: every text and list is within its
//! bound, every name has only permitted characters (no `/`, no control characters), and every
//! number is in its range. A receiver cannot rely on the sender being honest.

#![forbid(unsafe_code)]

pub mod account;
pub mod bounded;
pub mod codec;
pub mod log;
pub mod permit;
#[cfg(feature = "server")]
mod servers;
pub mod session;
pub mod sessions_worker;
pub mod stream;

#[cfg(feature = "server")]
pub use servers::*;

/// The version of all messages in this crate: a digest of their definitions, which `build.rs` makes.
/// The first message in each direction carries it. A process ends if its peer has another version.
pub const VERSION: u32 = include!(concat!(env!("OUT_DIR"), "/version"));
