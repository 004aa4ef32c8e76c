//! Those who speak for others: the PROXY protocol before a connection's first byte, and XCLIENT before its login.

pub mod header;
pub mod xclient;
