//! The state of a connection. A login and a session are two types, because no data of one is valid
//! in the other. Each fact is stored once. What the connection waits for ([`Waiting`]) and what its
//! worker may say are derived from the state.

use crate::sasl::{Exchange, ExpectedOfAuth, NamedMechanism};
use popward_proto::auth::Impossible;
use popward_proto::bounded::UserName;
use popward_proto::session::{ClientPhase, FrontToWorker, Request, Totals, Update};

/// The state of a connection.
#[derive(Debug)]
pub(super) enum State {
    /// Before a login, and while auth checks it.
    BeforeLogin(BeforeLogin),
    /// After a login.
    Session(Session),
}

/// The states before a login.
#[derive(Debug)]
pub(super) enum BeforeLogin {
    /// The greeting has not been sent. TLS may begin before it.
    Connected,
    /// RFC 1939, section 4: AUTHORIZATION.
    Authorization(NamedUser),
    /// An AUTH exchange waits for the client's next message.
    Sasl(Box<Exchange>),
    /// Auth checks a login.
    Checking(Box<Check>),
    /// Auth granted the login. The worker opens the maildrop.
    Opening(Box<Check>),
    /// The front has answered STLS. TLS begins.
    Securing,
    /// The connection ends.
    Closing,
}

impl BeforeLogin {
    /// The AUTHORIZATION state before any USER.
    pub(super) const FRESH: Self = Self::Authorization(NamedUser::Nobody);
}

/// The user that USER named.
#[derive(Debug, Default)]
pub(super) enum NamedUser {
    /// USER has not come yet.
    #[default]
    Nobody,
    /// A name that no account can have.
    Impossible,
    /// A name that an account can have.
    Possible(UserName),
}

/// A login that auth checks.
#[derive(Debug)]
pub(super) struct Check {
    /// Why no account can match this login. `None`: an account can match.
    pub(super) impossible: Option<Impossible>,
    /// The answer that is expected of auth.
    pub(super) expected: ExpectedOfAuth,
}

/// How the client logged in, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Method {
    #[default]
    UserPass,
    Apop,
    Sasl(NamedMechanism),
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UserPass => "USER/PASS",
            Self::Apop => "APOP",
            Self::Sasl(named) => named.name(),
        }
    }
}

/// A session: the maildrop is open.
#[derive(Debug)]
pub(super) struct Session {
    /// What the maildrop held when it was opened.
    pub(super) opened: Totals,
    /// The messages that the client retrieved completely.
    pub(super) retrieved: Totals,
    /// The messages that are marked as deleted.
    pub(super) marked: Totals,
    /// What the update did. `None`: not known yet.
    pub(super) update: Option<Update>,
    /// What the session does now.
    pub(super) activity: Activity,
}

/// What a session does.
#[derive(Debug)]
pub(super) enum Activity {
    /// RFC 1939, section 5: TRANSACTION. The client's next command is due.
    Idle,
    /// The worker works on this request.
    Asked(FrontToWorker),
    /// The worker sends the data packets of a reply.
    Streaming {
        /// With RETR: the size of the message, in octets. `None` with TOP, LIST and UIDL.
        retrieved: Option<u64>,
    },
    /// After QUIT: the worker has answered or ended. Its locks are not free yet.
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
            activity: Activity::Idle,
        }
    }
}

/// What a connection waits for. The time limit and the phase of the worker's channel are derived
/// from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The greeting. If TLS comes first, its handshake.
    Connected,
    /// The TLS handshake after STLS.
    Securing,
    /// The client, for a command or a message of AUTH.
    Client,
    /// Auth's answer, or the new worker that sessions started.
    Auth,
    /// The worker's result of opening the maildrop.
    Opening,
    /// The worker's answer to this kind of request.
    Answer(Request),
    /// The worker's next data packet.
    Data,
    /// Sessions' message that the worker has ended and its locks are free.
    WorkerEnd,
    /// Nothing: the connection ends.
    Nothing,
}

impl Waiting {
    /// The phase of the worker's channel: which messages a worker may send now. `None`: none.
    pub fn phase(self) -> Option<ClientPhase> {
        match self {
            Self::Opening => Some(ClientPhase::Opening),
            Self::Client => Some(ClientPhase::Idle),
            Self::Answer(request) => Some(ClientPhase::Asked(request)),
            Self::Data => Some(ClientPhase::Streaming),
            Self::Connected | Self::Securing | Self::Auth | Self::WorkerEnd | Self::Nothing => None,
        }
    }

    /// Whether the worker's answer, or the rest of its data, is due.
    pub fn is_for_worker(self) -> bool {
        matches!(self, Self::Answer(_) | Self::Data)
    }

    /// Whether the worker does the update. The front waits for its end even if the client has gone.
    pub fn is_update(self) -> bool {
        matches!(self, Self::Answer(Request::Quit) | Self::WorkerEnd)
    }

    /// Whether a reply can be written now. A reply is not possible while TLS is about to begin.
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
            Self::Session(session) => match &session.activity {
                Activity::Idle => Waiting::Client,
                Activity::Asked(request) => Waiting::Answer(request.request()),
                Activity::Streaming { .. } => Waiting::Data,
                Activity::Ending => Waiting::WorkerEnd,
                Activity::Closing => Waiting::Nothing,
            },
        }
    }

    /// Ends the connection.
    pub(super) fn close(&mut self) {
        match self {
            Self::BeforeLogin(state) => *state = BeforeLogin::Closing,
            Self::Session(session) => session.activity = Activity::Closing,
        }
    }
}
