//! Which of a worker's answers may come when. Only a front receives them, so no worker links this.

use super::{FrontToWorker, OfAll, OfOne, WorkerToFront};
use crate::permit::{Message, Permit, any, once};

/// The phases of a front, as the receiver of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPhase {
    /// The front waits until the maildrop is open.
    Opening,
    /// No answer is due. The worker may send something ahead, or say that the session broke.
    Idle,
    /// The front waits for the answer to this kind of request.
    Asked(Request),
    /// Data packets come.
    Streaming,
}

/// The kinds of requests, by their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `Stat` or `Rset`.
    Totals,
    /// `OfAll`.
    Listing,
    /// `OfOne::Size`.
    Size,
    /// `OfOne::UniqueId`.
    Unique,
    /// `OfOne::Whole` or `OfOne::Top`.
    Body,
    /// `OfOne::Delete`.
    Delete,
    /// `Quit`.
    Quit,
}

impl FrontToWorker {
    /// The kind of this request.
    pub fn request(&self) -> Request {
        match self {
            Self::Stat | Self::Rset => Request::Totals,
            Self::OfAll(OfAll::Sizes | OfAll::UniqueIds) => Request::Listing,
            Self::OfOne(_, OfOne::Size) => Request::Size,
            Self::OfOne(_, OfOne::UniqueId) => Request::Unique,
            Self::OfOne(_, OfOne::Whole | OfOne::Top(_)) => Request::Body,
            Self::OfOne(_, OfOne::Delete) => Request::Delete,
            Self::Quit => Request::Quit,
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
        /// Every phase after the opening, except the wait for the answer to QUIT.
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
        /// Every wait, because the packet may have been on its way when the request was sent.
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
