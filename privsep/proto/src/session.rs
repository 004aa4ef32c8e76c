//! front ↔ worker: one maildrop, one session. The worker alone knows what is in it and what is deleted.
//!
//! Listings and message bodies come as data, the first with their announcement ([`crate::codec::TAG_FIRST`]), the others in
//! packets of their own: CRLF-ended and dot-stuffed, without the final `.` line, which is the front's.
//!
//! A worker may send the beginnings of messages ahead, a packet each, where it expects `Retr` of them to be the next requests; none
//! behind one whose rest is still to be sent. If a request is `Retr` of one of them, that packet is the beginning of its answer,
//! and those before it are thrown away; if it is anything else, all of them are. Both see which they are: whatever went ahead comes
//! before the answer. A front may keep such requests back until it has another one.

use crate::bounded::{OutOfBounds, Text};
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

/// The name of a header field (RFC 5322, section 3.6.8): 1 to 64 characters from `!` to `~`, no colon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(String);

impl FieldName {
    /// Longest name, in bytes.
    pub const MAX: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FieldName {
    type Error = OutOfBounds;
    fn try_from(name: String) -> Result<Self, OutOfBounds> {
        let good = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || name.len() > Self::MAX || !name.bytes().all(good) {
            return Err(OutOfBounds("no field name"));
        }
        Ok(Self(name))
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> Self {
        name.0
    }
}

/// Which bytes of a header a client takes (RFC 6856, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Headers {
    /// As they are.
    Raw,
    /// ASCII alone: a message that has others in its header is refused, a field's value is shown without them.
    Ascii,
}

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
    /// RETR for a client that takes ASCII headers alone.
    RetrAscii(MessageNumber),
    /// TOP for such a client.
    TopAscii(MessageNumber, u32),
    /// EUIDL (Qpopper), of one message or of all: UIDL, size and the From field.
    Euidl(Option<MessageNumber>, Headers),
    /// XTND XLST (Qpopper): this field of one message's header or of all messages'.
    Xlst(FieldName, Option<MessageNumber>, Headers),
    /// DELE.
    Dele(MessageNumber),
    /// RSET.
    Rset,
    /// LAST (RFC 1460).
    Last,
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
    /// To `List` of all, `Uidl` of all, `Euidl` of all, `Xlst`: announces data of at most this many lines.
    Listing(Totals),
    /// To `List` of one message: its size.
    Size(MessageNumber, Octets),
    /// To `Uidl` of one message.
    Unique(MessageNumber, UniqueId),
    /// To `Euidl` of one message: its UIDL, its size, its From field.
    Extended(MessageNumber, UniqueId, Octets, Text<128>),
    /// To `Retr`, `Top`, `RetrAscii`, `TopAscii`: announces data. The size is the whole message's.
    Body(Octets),
    /// Announces what `Body` will to `Retr` of this message, should that be the next request.
    Ahead(MessageNumber, Octets),
    /// To `Dele`: its size.
    Deleted(MessageNumber, Octets),
    /// To `Last`: the highest number that was retrieved, now or (by its Status field) before; 0 for none.
    Last(u32),
    /// There is no such message, or it is marked as deleted.
    Refused(Refusal),
    /// The session is over without update: to any request, or within a stream, which then is broken off.
    Broken(Broken),
    /// To `Quit`: what was asked for was done.
    Committed(Update),
    /// To `Quit`: mail was deleted as asked for, but that bulletins are to be shown no more could not be noted.
    PartlyCommitted(Update),
    /// To `Quit`: something that was asked for was not done, and then nothing was.
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
    /// Its header has other bytes than ASCII, and the client takes none: `[UTF8]` (RFC 6856, section 5).
    NotAscii,
    /// It is a bulletin that has been changed or taken away since the session began.
    Withdrawn,
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
    /// `List`, `Uidl` or `Euidl` of all.
    Listing,
    /// `List` of one.
    Size,
    /// `Uidl` of one.
    Unique,
    /// `Euidl` of one.
    Extended,
    /// `Xlst`.
    Fields,
    /// `Retr` or `Top`, or one of these for ASCII headers.
    Body,
    /// `Dele`.
    Delete,
    /// `Last`.
    Last,
    /// `Quit`.
    Quit,
}

impl FrontToWorker {
    /// What kind of answer this request has.
    pub fn request(&self) -> Request {
        match self {
            Self::Stat | Self::Rset => Request::Totals,
            Self::List(None) | Self::Uidl(None) | Self::Euidl(None, _) => Request::Listing,
            Self::List(Some(_)) => Request::Size,
            Self::Uidl(Some(_)) => Request::Unique,
            Self::Euidl(Some(_), _) => Request::Extended,
            Self::Xlst(..) => Request::Fields,
            Self::Retr(_) | Self::Top(..) | Self::RetrAscii(_) | Self::TopAscii(..) => {
                Request::Body
            }
            Self::Dele(_) => Request::Delete,
            Self::Last => Request::Last,
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
            Self::RetrAscii(_) => any("RetrAscii", &[Transaction]),
            Self::TopAscii(..) => any("TopAscii", &[Transaction]),
            Self::Euidl(..) => any("Euidl", &[Transaction]),
            Self::Xlst(..) => any("Xlst", &[Transaction]),
            Self::Dele(_) => any("Dele", &[Transaction]),
            Self::Rset => any("Rset", &[Transaction]),
            Self::Last => any("Last", &[Transaction]),
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
            Asked(Request::Extended),
            Asked(Request::Fields),
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
            Asked(Request::Extended),
            Asked(Request::Fields),
            Asked(Request::Body),
            Asked(Request::Delete),
            Asked(Request::Last),
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
            Asked(Request::Extended),
            Asked(Request::Fields),
            Asked(Request::Last),
            Asked(Request::Quit),
        ];
        match self {
            Self::Opened(_) => once("Opened", &[Opening]),
            Self::NotOpened(_) => once("NotOpened", &[Opening]),
            Self::Totals(_) => any("Totals", &[Asked(Request::Totals)]),
            Self::Listing(_) => any(
                "Listing",
                &[Asked(Request::Listing), Asked(Request::Fields)],
            ),
            Self::Size(..) => any("Size", &[Asked(Request::Size)]),
            Self::Unique(..) => any("Unique", &[Asked(Request::Unique)]),
            Self::Extended(..) => any("Extended", &[Asked(Request::Extended)]),
            Self::Body(_) => any("Body", &[Asked(Request::Body)]),
            Self::Ahead(..) => any("Ahead", AHEAD),
            Self::Deleted(..) => any("Deleted", &[Asked(Request::Delete)]),
            Self::Last(_) => any("Last", &[Asked(Request::Last)]),
            Self::Refused(_) => any("Refused", ONE),
            Self::Broken(_) => once("Broken", BREAKS),
            Self::Committed(_) => once("Committed", &[Asked(Request::Quit)]),
            Self::PartlyCommitted(_) => once("PartlyCommitted", &[Asked(Request::Quit)]),
            Self::NotCommitted(_) => once("NotCommitted", &[Asked(Request::Quit)]),
        }
    }
}
