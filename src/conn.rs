//! One client's connection. It passes the client's bytes to POP3 and does what POP3 wants done. It
//! passes on what auth, sessions and the worker say.
//!
//! Back-pressure: while the client has not taken its reply, the worker's socket is not read. While
//! an answer is due, the client's commands are not read. So a connection holds at most one packet
//! and one read buffer.
//!
//! Reading order: `drive` (the steps), `state` (the data), then what the steps use: `login`,
//! `worker`, `party`, `pace`, `ending`.

mod drive;
mod ending;
mod login;
mod offer;
mod pace;
mod party;
mod state;
mod worker;
mod worker_channel;

pub(crate) use state::{Conn, FULL, Outcome, READ_MAX, Shared};
