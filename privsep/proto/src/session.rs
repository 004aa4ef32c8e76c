//! front ↔ worker: one maildrop, one session. Only the worker knows the messages and the deletions.
//!
//! Listings and message bodies are data. The first data packet comes with the message that
//! announces it ([`crate::stream::TAG_FIRST`]), and each of the others is a packet of its own. Lines
//! end with CRLF and are dot-stuffed. The front adds the final `.` line.
//!
//! A worker may send the beginning of a message ahead of its request: one packet for each message,
//! and nothing behind a message whose rest is still to be sent. If the next request retrieves one
//! of these messages, its packet is the beginning of the answer, and both ends drop the packets
//! before it. If the next request is another one, both ends drop all of them. Both ends know which
//! packets these are, because every packet that went ahead comes before the answer. A front may
//! hold such a request back until it has another one.

#[cfg(feature = "server")]
mod answers;

use crate::bounded::Text;
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

#[cfg(feature = "server")]
pub use answers::{ClientPhase, Request};

/// A message's number as a client counts, from 1 (RFC 1939, section 5). Never an index, never an
/// offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageNumber(pub NonZeroU32);

impl std::fmt::Display for MessageNumber {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// A size as RETR sends it: octets with CRLF line ends, before dot-stuffing.
pub type Octets = u64;

/// What a unique id is (RFC 1939, section 7): 1 to 70 characters from `!` to `~`.
pub type UniqueId = Text<70>;

/// What a front asks of a worker. One request at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToWorker {
    /// STAT: how many messages there are, and their octets.
    Stat,
    /// Something about one message.
    OfOne(MessageNumber, OfOne),
    /// A listing of all messages that are not marked as deleted.
    OfAll(OfAll),
    /// RSET: no message is marked as deleted any more.
    Rset,
    /// QUIT: the UPDATE state. If the socket ends without it, nothing changes.
    Quit,
}

/// What is asked about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfOne {
    /// LIST with a number: its size.
    Size,
    /// UIDL with a number: its unique id.
    UniqueId,
    /// RETR: all of it.
    Whole,
    /// TOP: its header, the empty line, and at most this many lines of its body.
    Top(u32),
    /// DELE: it is marked as deleted.
    Delete,
}

/// What is listed of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfAll {
    /// LIST: their sizes.
    Sizes,
    /// UIDL: their unique ids.
    UniqueIds,
}

impl FrontToWorker {
    /// The message that this request retrieves as a whole, if it is RETR.
    pub fn retrieves(&self) -> Option<MessageNumber> {
        match self {
            Self::OfOne(number, OfOne::Whole) => Some(*number),
            _ => None,
        }
    }
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToFront {
    /// The maildrop is locked and listed. The worker sends this once, without a request.
    Opened(Totals),
    /// The maildrop is not opened, and the worker ends.
    NotOpened(OpenFailure),
    /// To `Stat` and `Rset`: the messages that are not marked as deleted.
    Totals(Totals),
    /// To `OfAll`: announces data of at most this many lines.
    Listing(Totals),
    /// To `OfOne::Size`.
    Size(MessageNumber, Octets),
    /// To `OfOne::UniqueId`.
    Unique(MessageNumber, UniqueId),
    /// To `OfOne::Whole` and `OfOne::Top`: announces data. The size is that of the whole message.
    Body(Octets),
    /// The beginning of this message, sent ahead: if the next request retrieves it, this takes the
    /// place of `Body`.
    Ahead(MessageNumber, Octets),
    /// To `OfOne::Delete`: the size of the message.
    Deleted(MessageNumber, Octets),
    /// To `OfOne`: the message does not exist, or is marked as deleted.
    Refused(Refusal),
    /// The session is over without an update. This can answer any request, and can break a stream
    /// off.
    Broken(Broken),
    /// To `Quit`: every message that was marked is deleted.
    Committed(Update),
    /// To `Quit`: nothing was deleted.
    NotCommitted(Broken),
}

/// Messages and octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// How many messages.
    pub messages: u32,
    /// Their sizes' sum.
    pub octets: Octets,
}

/// The result of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What was deleted.
    pub deleted: Totals,
    /// What is left.
    pub left: Totals,
}

/// Why a request about one message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No message has this number.
    NoSuchMessage,
    /// It is marked as deleted.
    AlreadyDeleted,
}

/// Why a maildrop was not opened. The worker's log line has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenFailure {
    /// Another session or program holds its locks: `[IN-USE]` (RFC 2449).
    InUse,
    /// A condition that may pass: `[SYS/TEMP]` (RFC 3206).
    Temporary,
    /// Something that an operator must mend, such as a spool that is not mbox: `[SYS/PERM]`.
    Permanent,
}

/// Why a session cannot go on. The worker's log line has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broken {
    /// Another program removed or replaced a lock that the worker held.
    LockLost,
    /// Another program changed the spool after the worker had read it.
    SpoolChanged,
    /// Reading or writing failed: a device, a quota, a full disk.
    System,
}

/// The phases of a worker, as the receiver of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerPhase {
    /// The worker takes its locks and reads the spool. It takes no request.
    Opening,
    /// RFC 1939's TRANSACTION state.
    Transaction,
    /// After QUIT.
    Update,
}

impl Message for FrontToWorker {
    const LIMIT: usize = 32;
    type Phase = WorkerPhase;
    fn permit(&self) -> Permit<WorkerPhase> {
        use WorkerPhase::Transaction;
        match self {
            Self::Stat => any("Stat", &[Transaction]),
            Self::OfOne(..) => any("OfOne", &[Transaction]),
            Self::OfAll(_) => any("OfAll", &[Transaction]),
            Self::Rset => any("Rset", &[Transaction]),
            Self::Quit => once("Quit", &[Transaction]),
        }
    }
}
