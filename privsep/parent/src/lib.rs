//! What the supervisor and the monitors have in common: they start other processes, watch them, and
//! pass their log records on to popward-log.
//!
//! This code runs in the processes that are root, and in no other.

#![forbid(unsafe_code)]

pub mod events;
pub mod log;
pub mod process;
