//! The write path: a spool's locks, its user's state directory, and the update that deletes messages.
//!
//! Only this crate can change a byte of a spool. [`locks::LockedSpool`] is made by locking alone, and
//! only this crate can call the methods that write. There are two ways in:
//!
//! - [`commit::Commit`] deletes messages, at QUIT;
//! - [`commit::recover`] finishes what a commit of a process that died has left.
//!
//! Both run as the spool's owner. [`start`] is how a process gets there: it locks, gives up what only
//! locking needs, and confines itself.

#![forbid(unsafe_code)]

pub mod commit;
pub mod error;
mod journal;
pub mod locks;
pub mod pins_file;
pub mod read;
mod recovery;
pub mod start;
pub mod state;
mod steps;
mod syscalls;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use journal::keep_reserve;
