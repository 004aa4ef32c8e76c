//! The system calls that safe libraries do not offer, or not in the form that popward needs:
//! channels with typed messages and descriptors, process creation, dropping privilege and proving
//! it, system call filters, Landlock.
//!
//! This code runs in every process, with that process's rights. It holds all `unsafe` code of
//! popward, except auth's calls of libcrypt and popward-auth-pam's calls of libpam. A comment at
//! each block says why it is sound. Reading order for an auditor: `channel`, `spawn`, `confine`,
//! the rest.

pub mod capabilities;
pub mod channel;
pub mod confine;
pub mod dotlock;
#[cfg(feature = "server")]
pub mod facts;
pub mod flock;
#[cfg(feature = "server")]
pub mod front_sockets;
#[cfg(feature = "server")]
pub mod guard;
pub mod inherited;
#[cfg(feature = "server")]
pub mod keyring;
pub mod landlock;
#[cfg(feature = "server")]
pub mod locked_memory;
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
#[cfg(feature = "server")]
pub mod whole_file;

/// The names of system calls and constants, for the tables of the filters.
pub use nix::libc;
