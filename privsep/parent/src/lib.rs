//! What the supervisor, the monitors and their sessions have in common: they keep some of root's
//! capabilities, start other processes, watch them, and pass their log records on to popward-log.
//!
//! This code runs in the processes that are root, and in no other.

#![forbid(unsafe_code)]

pub mod confine;
pub mod connected_child;
pub mod events;
pub mod log;
pub mod process;
