//! SASL mechanisms (RFC 4422) without I/O. This module parses a client's messages and builds the
//! server's. It does not check credentials: auth does that.

mod attempt;
mod exchange;
mod external;
mod mechanism;
mod password;
mod scram;
mod token;

pub use attempt::Login;
pub(crate) use attempt::{Attempt, user_name};
pub(crate) use exchange::{Exchange, ExpectedOfAuth, Heard};
pub(crate) use mechanism::NamedMechanism;
pub(crate) use password::{apop, digest, password};
pub(crate) use token::refusal;
