//! POP3 without I/O. Bytes and events go in; replies and actions for the caller come out.
//!
//! RFC 1939; CAPA (RFC 2449); response codes (RFC 3206); UTF8 and LANG (RFC 6856).

mod action;
mod authorization;
mod capabilities;
pub mod command;
mod connection;
mod input;
mod language;
mod line;
mod login;
mod offer;
mod state;
#[cfg(test)]
mod tests;
mod transaction;
mod worker;

pub use crate::sasl::Login;
pub use action::{Action, End};
pub use connection::{Identity, Policy, Pop3};
pub use offer::{Mechanisms, Offer, Security};
pub use state::Waiting;
