//! Where a connection is. A login and a session are two types, because nothing of one is valid in the other. Each fact is
//! stored once: whom the connection waits for ([`Waiting`]) and what its worker may say derive from the state.

use crate::sasl::{Exchange, Then};
use popward_proto::auth::Impossible;
use popward_proto::bounded::UserName;
use popward_proto::session::{ClientPhase, FrontToWorker, Request, Totals, Update};

/// The state of a connection.
#[derive(Debug)]
pub(super) enum State {
    /// Before a login, and while it is checked.
    BeforeLogin(BeforeLogin),
    /// After a login.
    Session(Session),
}

/// The states before a login.
#[derive(Debug)]
pub(super) enum BeforeLogin {
    /// Nothing was said yet. TLS may come before the greeting.
    Connected,
    /// RFC 1939, section 4: AUTHORIZATION.
    Authorization(NamedUser),
    /// The client's next message of AUTH is due.
    Sasl(Box<Exchange>),
    /// Auth was asked.
    Checking(Box<Check>),
    /// Auth granted, and the worker opens the maildrop.
    Opening(Box<Check>),
    /// STLS was answered: TLS begins.
    Securing,
    /// The connection ends.
    Closing,
}

impl BeforeLogin {
    /// The AUTHORIZATION state in which USER has named nobody.
    pub(super) const FRESH: Self = Self::Authorization(NamedUser::Nobody);
}

/// Whom USER named.
#[derive(Debug, Default)]
pub(super) enum NamedUser {
    /// Nobody yet.
    #[default]
    Nobody,
    /// A name that no account can have.
    Impossible,
    /// A name.
    Possible(UserName),
}

/// A login that auth checks.
#[derive(Debug)]
pub(super) struct Check {
    /// Why nobody can be who the client says, if so.
    pub(super) impossible: Option<Impossible>,
    /// What may follow.
    pub(super) then: Then,
}

/// A maildrop that was opened.
#[derive(Debug)]
pub(super) struct Session {
    /// What was in it.
    pub(super) opened: Totals,
    /// What was retrieved completely.
    pub(super) retrieved: Totals,
    /// What is marked as deleted.
    pub(super) marked: Totals,
    /// What the update did, once that is known.
    pub(super) update: Option<Update>,
    /// How far it is.
    pub(super) step: Step,
}

/// The states after a login.
#[derive(Debug)]
pub(super) enum Step {
    /// RFC 1939, section 5: TRANSACTION. The client's next command is due.
    Idle,
    /// The worker was asked this.
    Asked(FrontToWorker),
    /// Data packets come.
    Streaming {
        /// The size of the message, if it is RETR's.
        retrieved: Option<u64>,
    },
    /// QUIT: the worker has said its last word, or ended. Its locks are not free yet.
    Ending,
    /// The connection ends.
    Closing,
}

impl Session {
    /// A session that has just begun.
    pub(super) fn new(opened: Totals) -> Self {
        Self {
            opened,
            retrieved: Totals::default(),
            marked: Totals::default(),
            update: None,
            step: Step::Idle,
        }
    }
}

/// What a connection waits for. The time limit that applies and the phase of the worker's channel derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The end of the handshake before the greeting, if there is one.
    Connected,
    /// TLS after STLS.
    Securing,
    /// The client, for a command or a message of AUTH.
    Client,
    /// Auth, or the monitor that makes a worker.
    Auth,
    /// The worker, which opens the maildrop.
    Opening,
    /// The worker's answer to this kind of request.
    Answer(Request),
    /// The worker's next data packet.
    Data,
    /// The monitor, for the end of the worker and its locks.
    WorkerEnd,
    /// Nothing: the connection ends.
    Nothing,
}

impl Waiting {
    /// What a worker may say now. `None`: nothing.
    pub fn phase(self) -> Option<ClientPhase> {
        match self {
            Self::Opening => Some(ClientPhase::Opening),
            Self::Client => Some(ClientPhase::Idle),
            Self::Answer(request) => Some(ClientPhase::Asked(request)),
            Self::Data => Some(ClientPhase::Streaming),
            Self::Connected | Self::Securing | Self::Auth | Self::WorkerEnd | Self::Nothing => None,
        }
    }

    /// Whether the worker's answer, or the rest of it, is due.
    pub fn is_for_worker(self) -> bool {
        matches!(self, Self::Answer(_) | Self::Data)
    }

    /// Whether QUIT was asked of the worker. Its end is waited for, whether or not the client is still there.
    pub fn is_update(self) -> bool {
        matches!(self, Self::Answer(Request::Quit) | Self::WorkerEnd)
    }

    /// Whether a reply can be written: not while TLS is about to begin.
    pub fn may_reply(self) -> bool {
        !matches!(self, Self::Connected | Self::Securing)
    }
}

impl State {
    /// What the connection waits for.
    pub(super) fn waiting(&self) -> Waiting {
        match self {
            Self::BeforeLogin(state) => match state {
                BeforeLogin::Connected => Waiting::Connected,
                BeforeLogin::Authorization(_) | BeforeLogin::Sasl(_) => Waiting::Client,
                BeforeLogin::Checking(_) => Waiting::Auth,
                BeforeLogin::Opening(_) => Waiting::Opening,
                BeforeLogin::Securing => Waiting::Securing,
                BeforeLogin::Closing => Waiting::Nothing,
            },
            Self::Session(session) => match &session.step {
                Step::Idle => Waiting::Client,
                Step::Asked(request) => Waiting::Answer(request.request()),
                Step::Streaming { .. } => Waiting::Data,
                Step::Ending => Waiting::WorkerEnd,
                Step::Closing => Waiting::Nothing,
            },
        }
    }

    /// The connection ends.
    pub(super) fn close(&mut self) {
        match self {
            Self::BeforeLogin(state) => *state = BeforeLogin::Closing,
            Self::Session(session) => session.step = Step::Closing,
        }
    }
}
