//! What a process that was taken over can do with messages to its neighbours.

mod arena;
mod attempt;
mod channels;
mod kinds;
mod lanes;
mod points;
mod protocol;
pub mod table;
mod values;

pub use channels::sockets;
pub use lanes::{Lane, Tried, all_lanes};
