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
pub mod flock;
pub mod inherited;
pub mod landlock;
pub mod log;
pub mod seccomp;
#[cfg(feature = "server")]
mod servers;

#[cfg(feature = "server")]
pub use servers::*;

/// The names of system calls and constants, for the tables of the filters.
pub use nix::libc;
