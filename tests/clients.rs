//! Real clients fetch a spool: in the clear, over TLS, over TLS after STLS, and by each mechanism
//! that they know. What they stored must be what was in the spool, byte for byte but for CRs. The
//! log must say that they logged in as the row says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

#[path = "clients/case.rs"]
mod case;
#[path = "clients/fetchers.rs"]
mod fetchers;
mod host;
#[path = "clients/libraries.rs"]
mod libraries;
#[path = "clients/readers.rs"]
mod readers;
#[path = "clients/sequences.rs"]
mod sequences;
