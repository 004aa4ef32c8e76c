//! What broke other POP3 servers, tried on this one. docs/cve.md has a row for each, and names the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

mod host;
#[path = "cve/local.rs"]
mod local;
#[path = "cve/mail.rs"]
mod mail;
#[path = "cve/network.rs"]
mod network;
#[path = "cve/process.rs"]
mod process;
