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
#[cfg(feature = "server")]
pub mod account_selector;
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod auth_conversation;
#[cfg(feature = "server")]
pub mod auth_handover;
#[cfg(feature = "server")]
pub mod auth_sessions;
pub mod bounded;
pub mod codec;
#[cfg(feature = "server")]
pub mod config_monitor;
#[cfg(feature = "server")]
pub mod config_names;
#[cfg(feature = "server")]
pub mod config_sessions;
#[cfg(feature = "server")]
pub mod keys;
#[cfg(feature = "server")]
pub mod listen;
pub mod log;
#[cfg(feature = "server")]
pub mod log_line;
#[cfg(feature = "server")]
pub mod monitor_auth;
#[cfg(feature = "server")]
pub mod monitor_front;
#[cfg(feature = "server")]
pub mod monitor_keys;
#[cfg(feature = "server")]
pub mod monitor_sessions;
#[cfg(feature = "server")]
pub mod network;
#[cfg(feature = "server")]
pub mod pattern;
pub mod permit;
#[cfg(feature = "server")]
pub mod proxies;
#[cfg(feature = "server")]
pub mod secret;
pub mod session;
#[cfg(feature = "server")]
pub mod sessions_front;
pub mod sessions_worker;
#[cfg(feature = "server")]
pub mod settings;
#[cfg(feature = "server")]
pub mod setup_phase;
pub mod stream;
#[cfg(feature = "server")]
pub mod supervisor_config;
#[cfg(feature = "server")]
pub mod supervisor_log;
#[cfg(feature = "server")]
pub mod supervisor_monitor;
#[cfg(feature = "server")]
pub mod supervisor_sessions;

/// The version of all messages in this crate. The first message in each direction carries it. A
/// process ends if its peer has another version.
pub const VERSION: u32 = 1;
