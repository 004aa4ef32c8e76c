//! The names of a connection inside this process: its handle, and its tokens in the event loop.

use mio::Token;

/// The first token of connections. Lower tokens belong to the event loop and the listeners.
pub(crate) const FIRST_TOKEN: usize = 65;

/// A connection. Its slot alone is not enough, because a slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle {
    /// Its slot in the table of connections.
    pub(crate) slot: usize,
    /// Its number among all connections of this front.
    pub(crate) count: u32,
}

/// The token of a client's socket.
pub(crate) fn client_token(slot: usize) -> Token {
    Token(FIRST_TOKEN + 2 * slot)
}

/// The token of the socket to a connection's worker.
pub(crate) fn worker_token(slot: usize) -> Token {
    Token(FIRST_TOKEN + 2 * slot + 1)
}

/// The slot of a connection's token, and whether it is the client's socket. `None`: the token is
/// not a connection's.
pub(crate) fn slot_of(token: Token) -> Option<(usize, bool)> {
    let number = token.0.checked_sub(FIRST_TOKEN)?;
    Some((number / 2, number % 2 == 0))
}
