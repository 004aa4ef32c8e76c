//! What only processes without a spool do: they start others, and have secrets, root's capabilities or
//! an empty root directory.

mod errors;
pub mod facts;
pub mod front_sockets;
pub mod guard;
pub mod keyring;
pub mod locked_memory;
pub mod log_rate_limit;
pub mod server;
pub mod socket;
pub mod spawn;
pub mod systemd;
pub mod whole_file;
