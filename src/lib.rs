//! popward's network process. Only this process parses bytes from the network (promise P1).
//!
//! It runs as an unprivileged user and confines itself before it accepts its first client. Reading
//! order:
//!
//! | module | what it is |
//! | --- | --- |
//! | `setup` | the start: settings from the monitor, then confinement |
//! | `front` | the event loop |
//! | `conn` | one client's connection |
//! | `client` | a client's stream |
//! | `pop3`, `sasl` | the protocol, without I/O |
//! | `tls` | certificates, handshakes, signatures by another process |
//! | `proxy` | connections through proxies |
//! | `limits`, `deadlines` | what bounds strangers |
//! | `channels` | the channels to the monitor, sessions, auth and keys |

#![forbid(unsafe_code)]

mod auth_channels;
mod channels;
mod client;
mod conn;
mod deadlines;
mod end_reason;
pub mod front;
mod handle;
mod limits;
pub mod pop3;
pub mod proxy;
mod report;
mod sasl;
pub mod setup;
mod slots;
mod syscalls;
pub mod tls;
