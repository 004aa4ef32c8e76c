//! popward's network process: all bytes from the network are parsed here and nowhere else (promise P1).
//!
//! Runs as an unprivileged user, confined before it accepts its first client. Reading order: `setup` (what it is
//! given, and how it locks itself in), `front` (the event loop), `conn` (one client), `client` (that client's
//! stream), `links` (the monitor and auth), `tls` (certificates, handshakes, signatures that are made elsewhere).
//! `pop3` is the protocol and does no I/O; `limits` and `deadlines` bound what strangers can take.

#![forbid(unsafe_code)]

mod auths;
mod client;
mod conn;
mod deadlines;
mod end_reason;
pub mod front;
mod handle;
mod limits;
mod links;
pub mod pop3;
pub mod proxy;
mod report;
mod sasl;
pub mod setup;
mod slots;
mod syscalls;
pub mod tls;
