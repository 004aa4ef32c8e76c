//! front ↔ worker: one maildrop, one session. The worker alone knows what is in it and what is deleted.
//!
//! Listings and message bodies come as data, the first with their announcement ([`crate::codec::TAG_FIRST`]), the others in
//! packets of their own: CRLF-ended and dot-stuffed, without the final `.` line, which is the front's.
//!
//! A worker may send the beginnings of messages ahead, a packet each, where it expects `Retr` of them to be the next requests; none
//! behind one whose rest is still to be sent. If a request is `Retr` of one of them, that packet is the beginning of its answer,
//! and those before it are thrown away; if it is anything else, all of them are. Both see which they are: whatever went ahead comes
//! before the answer. A front may keep such requests back until it has another one.

use crate::bounded::Text;
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// A message's number as a client counts, from 1 (RFC 1939, section 5). Never an index, never an offset.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontToWorker {
    /// STAT.
    Stat,
    /// LIST, of one message or of all.
    List(Option<MessageNumber>),
    /// UIDL, of one message or of all.
    Uidl(Option<MessageNumber>),
    /// RETR.
    Retr(MessageNumber),
    /// TOP: the header, the empty line, and so many lines of the body.
    Top(MessageNumber, u32),
    /// DELE.
    Dele(MessageNumber),
    /// RSET.
    Rset,
    /// QUIT: the UPDATE state. The end of the socket without it changes nothing.
    Quit,
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToFront {
    /// The maildrop is locked and listed. Comes by itself, once.
    Opened(Totals),
    /// It is not, and the worker is ending.
    NotOpened(OpenFailure),
    /// To `Stat`, `Rset`: what is in the maildrop, without what is marked as deleted.
    Totals(Totals),
    /// To `List` of all and to `Uidl` of all: announces data of at most this many lines.
    Listing(Totals),
    /// To `List` of one message: its size.
    Size(MessageNumber, Octets),
    /// To `Uidl` of one message.
    Unique(MessageNumber, UniqueId),
    /// To `Retr` and `Top`: announces data. The size is the whole message's.
    Body(Octets),
    /// Announces what `Body` will to `Retr` of this message, should that be the next request.
    Ahead(MessageNumber, Octets),
    /// To `Dele`: its size.
    Deleted(MessageNumber, Octets),
    /// There is no such message, or it is marked as deleted.
    Refused(Refusal),
    /// The session is over without update: to any request, or within a stream, which then is broken off.
    Broken(Broken),
    /// To `Quit`: what was asked for was done.
    Committed(Update),
    /// To `Quit`: nothing was done.
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

/// What an update did.
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

/// Why a maildrop was not opened. The particulars are in the worker's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenFailure {
    /// Others hold its locks: `[IN-USE]` (RFC 2449).
    InUse,
    /// Something that may pass: `[SYS/TEMP]` (RFC 3206).
    Temporary,
    /// Something that somebody must mend, such as a spool that is not mbox: `[SYS/PERM]`.
    Permanent,
}

/// Why a session cannot go on. The particulars are in the worker's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broken {
    /// Somebody took or removed a lock that the worker held.
    LockLost,
    /// The spool is not what it was when it was read.
    SpoolChanged,
    /// Reading or writing failed: a device, a quota, a full disk.
    System,
}

/// The phases of a worker, as it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerPhase {
    /// Locks are being taken and the spool is read: nothing may be asked.
    Opening,
    /// RFC 1939's TRANSACTION state, no request being answered.
    Transaction,
    /// After QUIT.
    Update,
}

/// The phases of a front, as it reads from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPhase {
    /// Waits for the maildrop.
    Opening,
    /// Nothing was asked: nothing may be answered, but that the session broke.
    Idle,
    /// Waits for the answer to this kind of request.
    Asked(Request),
    /// Data packets come.
    Streaming,
}

/// The kinds of requests, as their answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `Stat` or `Rset`.
    Totals,
    /// `List` or `Uidl` of all.
    Listing,
    /// `List` of one.
    Size,
    /// `Uidl` of one.
    Unique,
    /// `Retr` or `Top`.
    Body,
    /// `Dele`.
    Delete,
    /// `Quit`.
    Quit,
}

impl FrontToWorker {
    /// What kind of answer this request has.
    pub fn request(&self) -> Request {
        match self {
            Self::Stat | Self::Rset => Request::Totals,
            Self::List(None) | Self::Uidl(None) => Request::Listing,
            Self::List(Some(_)) => Request::Size,
            Self::Uidl(Some(_)) => Request::Unique,
            Self::Retr(_) | Self::Top(..) => Request::Body,
            Self::Dele(_) => Request::Delete,
            Self::Quit => Request::Quit,
        }
    }
}

impl Message for FrontToWorker {
    const LIMIT: usize = 96;
    type Phase = WorkerPhase;
    fn permit(&self) -> Permit<WorkerPhase> {
        use WorkerPhase::Transaction;
        match self {
            Self::Stat => any("Stat", &[Transaction]),
            Self::List(_) => any("List", &[Transaction]),
            Self::Uidl(_) => any("Uidl", &[Transaction]),
            Self::Retr(_) => any("Retr", &[Transaction]),
            Self::Top(..) => any("Top", &[Transaction]),
            Self::Dele(_) => any("Dele", &[Transaction]),
            Self::Rset => any("Rset", &[Transaction]),
            Self::Quit => once("Quit", &[Transaction]),
        }
    }
}

impl Message for WorkerToFront {
    const LIMIT: usize = 256;
    type Phase = ClientPhase;
    const DATA_PHASE: Option<ClientPhase> = Some(ClientPhase::Streaming);
    fn announces(&self) -> bool {
        matches!(self, Self::Listing(_) | Self::Body(_) | Self::Ahead(..))
    }
    fn permit(&self) -> Permit<ClientPhase> {
        use ClientPhase::{Asked, Idle, Opening, Streaming};
        /// Every request about one message.
        const ONE: &[ClientPhase] = &[
            Asked(Request::Size),
            Asked(Request::Unique),
            Asked(Request::Body),
            Asked(Request::Delete),
        ];
        /// Every phase after the opening, but the wait for the answer to QUIT.
        const BREAKS: &[ClientPhase] = &[
            Idle,
            Streaming,
            Asked(Request::Totals),
            Asked(Request::Listing),
            Asked(Request::Size),
            Asked(Request::Unique),
            Asked(Request::Body),
            Asked(Request::Delete),
        ];
        /// Whatever is asked: the packet may have been on its way.
        const AHEAD: &[ClientPhase] = &[
            Idle,
            Asked(Request::Totals),
            Asked(Request::Listing),
            Asked(Request::Size),
            Asked(Request::Unique),
            Asked(Request::Body),
            Asked(Request::Delete),
            Asked(Request::Quit),
        ];
        match self {
            Self::Opened(_) => once("Opened", &[Opening]),
            Self::NotOpened(_) => once("NotOpened", &[Opening]),
            Self::Totals(_) => any("Totals", &[Asked(Request::Totals)]),
            Self::Listing(_) => any("Listing", &[Asked(Request::Listing)]),
            Self::Size(..) => any("Size", &[Asked(Request::Size)]),
            Self::Unique(..) => any("Unique", &[Asked(Request::Unique)]),
            Self::Body(_) => any("Body", &[Asked(Request::Body)]),
            Self::Ahead(..) => any("Ahead", AHEAD),
            Self::Deleted(..) => any("Deleted", &[Asked(Request::Delete)]),
            Self::Refused(_) => any("Refused", ONE),
            Self::Broken(_) => once("Broken", BREAKS),
            Self::Committed(_) => once("Committed", &[Asked(Request::Quit)]),
            Self::NotCommitted(_) => once("NotCommitted", &[Asked(Request::Quit)]),
        }
    }
}
