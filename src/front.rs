//! The event loop with its listeners, connections and time limits. It waits only in `poll`.
//!
//! Reading order: `event_loop` (what happens, in which order), `arrivals` (new connections),
//! `messages` (the monitor and auths), `ending` (a reload, the end of the server), `connections` (a
//! turn of one connection), `state` (the data).

mod arrivals;
mod connections;
mod ending;
mod event_loop;
mod messages;
mod state;

pub use state::{Front, FrontError, FrontParts, ListeningSocket};
