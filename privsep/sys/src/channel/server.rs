//! What the processes of the server do with channels, and workers do not.

mod packets;
mod sockets;
mod streams;

pub use packets::PacketBuffer;
pub use sockets::{nonblocking_pair, socket_pair};
pub use streams::Packet;
