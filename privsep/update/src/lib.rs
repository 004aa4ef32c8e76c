//! The write path: a spool's locks, its user's state directory, and the update that deletes
//! messages.
//!
//! Only this crate can change a byte of a spool. Only locking makes a [`locks::LockedSpool`], and
//! only this crate can call its methods that write. There are three ways in:
//!
//! - [`commit::Commit`] deletes messages, at QUIT;
//! - [`last_line::end_last_line`] adds a line end that is missing, behind such a commit;
//! - [`start::start`] finishes the commit of a process that died.
//!
//! Both run as the spool's owner. [`start`] brings a process there: it locks the spool, gives up
//! the rights that only locking needs, and confines the process.

#![forbid(unsafe_code)]

pub mod commit;
pub mod error;
mod journal;
pub mod last_line;
pub mod locks;
pub mod pins_file;
mod recovery;
pub mod session_log;
pub mod start;
pub mod state;
mod steps;
mod syscalls;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use journal::keep_reserve;
pub use steps::Sizes;
