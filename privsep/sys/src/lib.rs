//! What popward asks of the kernel beyond what safe libraries offer: channels that carry typed messages and
//! descriptors, spawning, dropping privilege and proving it, syscall filters, Landlock.
//!
//! Runs in every process, as whoever that process is. This is the only crate of the trusted side with `unsafe`
//! code; each block says why it is sound. Reading order for an auditor: `channel`, `spawn`, `confine`, the rest.

pub mod channel;
pub mod confine;
pub mod inherited;
pub mod landlock;
pub mod log;
#[cfg(feature = "server")]
pub mod log_rate_limit;
pub mod seccomp;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod socket;
#[cfg(feature = "server")]
pub mod spawn;
#[cfg(feature = "server")]
pub mod systemd;
#[cfg(feature = "vectors")]
pub mod vector;
#[cfg(feature = "server")]
pub mod whole_file;

/// Names of system calls and constants, for the roles' filter tables.
pub use nix::libc;
