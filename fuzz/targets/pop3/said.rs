//! The answer that is due, the messages that processes may send, and which message is which answer.

use popward_front::pop3::{Action, Login, Offer, Pop3};
use popward_proto::auth::{AuthRefusal, Credentials};
use popward_proto::bounded::{Text, UserName};
use popward_proto::session::{
    Broken, FrontToWorker, MessageNumber, OfOne, OpenFailure, Refusal, Totals, Update,
    WorkerToFront,
};
use std::num::NonZeroU32;

/// A source of choices: some bytes of the input, read again and again.
pub struct Tape<'a> {
    pub bytes: &'a [u8],
    pub read: usize,
}

impl Tape<'_> {
    /// A number less than `most`.
    pub fn choose(&mut self, most: u8) -> u8 {
        self.read += 1;
        let turns = (self.read / self.bytes.len()) as u8;
        (self.bytes[self.read % self.bytes.len()] ^ turns.wrapping_mul(89)) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.choose(all.len() as u8))]
    }
}

/// The answer that is due.
#[derive(Debug)]
pub enum Due {
    /// The end of the TLS handshake.
    Tls,
    /// Auth's answer.
    Login(Login),
    /// The worker's first message, after auth granted a login.
    Opening,
    /// The worker's answer.
    Answer(FrontToWorker),
    /// The rest of a reply's data.
    Stream,
    /// The monitor's message that the worker has ended. The worker has already said whether it did
    /// the update.
    End(bool),
}

impl Due {
    /// The number of replies that the client still has to get.
    pub fn owes(&self) -> usize {
        usize::from(!self.is_silent())
    }

    /// Whether no reply may be written until this answer comes.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Tls | Self::Stream)
    }

    /// Whether the update is under way. Then only its end counts.
    pub fn is_update(&self) -> bool {
        matches!(self, Self::Answer(FrontToWorker::Quit) | Self::End(_))
    }

    /// Whether `said` is an answer to this.
    pub fn takes(&self, said: &Said) -> bool {
        use Said as S;
        use WorkerToFront as W;
        match (self, said) {
            (Self::Tls, S::Secured(_)) | (Self::Stream, S::Data(_)) => true,
            (Self::Login(_), S::Refused(_) | S::NoSession | S::Granted) => true,
            (Self::Opening, S::NoSession | S::Worker(W::NotOpened(_) | W::Opened(_))) => true,
            (Self::Login(Login::Check(Credentials::Scram { .. })), S::Challenge(_)) => true,
            (Self::Login(Login::Prove(_)), S::Signature) => true,
            (Self::Answer(request), S::Worker(answer)) => answers(request, answer),
            (Self::Answer(FrontToWorker::Quit) | Self::End(_), S::Ended(_)) => true,
            _ => false,
        }
    }

    /// The answer that is due after `said`, which is not an answer. A worker that breaks the rules
    /// during an update gets no further chance: only its end is due.
    pub fn after_no_answer(self, said: &Said) -> Self {
        match (&self, said) {
            (Self::Answer(FrontToWorker::Quit), Said::NoSession | Said::Worker(_) | Said::Gone) => {
                Self::End(false)
            }
            _ => self,
        }
    }

    /// The answer that is due after `said`, which answers this one.
    pub fn after(self, said: &Said) -> Option<Self> {
        use WorkerToFront as W;
        match (self, said) {
            (Self::Login(_), Said::Granted) => Some(Self::Opening),
            (Self::Answer(FrontToWorker::Quit), Said::Worker(answer)) => {
                Some(Self::End(matches!(answer, W::Committed(_))))
            }
            (Self::Answer(_), Said::Worker(W::Listing(_) | W::Body(_) | W::Ahead(..)))
            | (Self::Stream, Said::Data(false)) => Some(Self::Stream),
            _ => None,
        }
    }

    /// Chooses an answer to this.
    pub fn answer(&self, tape: &mut Tape<'_>, offer: Offer) -> Said {
        match self {
            Self::Tls => Said::Secured(offer),
            Self::Stream => Said::Data(tape.choose(4) > 0),
            Self::End(_) => Said::Ended(tape.choose(2) == 0),
            Self::Login(login) => match (tape.choose(8), login) {
                (0, _) => Said::Refused(tape.of(&REFUSALS)),
                (1, _) => Said::NoSession,
                (3, Login::Check(Credentials::Scram { .. })) => Said::challenge("other"),
                (_, Login::Check(Credentials::Scram { nonce, .. })) => {
                    Said::challenge(nonce.as_str())
                }
                (_, Login::Prove(_)) => Said::Signature,
                _ => Said::Granted,
            },
            Self::Opening => match tape.choose(8) {
                0 => Said::NoSession,
                1 => Said::Worker(WorkerToFront::NotOpened(tape.of(&FAILURES))),
                _ => Said::Worker(WorkerToFront::Opened(TOTALS)),
            },
            Self::Answer(request) => reply(request, tape),
        }
    }
}

const TOTALS: Totals = Totals {
    messages: 2,
    octets: 20,
};
const UPDATE: Update = Update {
    deleted: TOTALS,
    left: TOTALS,
};
const ONE: MessageNumber = MessageNumber(NonZeroU32::MIN);
const REFUSALS: [AuthRefusal; 3] = [
    AuthRefusal::Credentials,
    AuthRefusal::TooSoon,
    AuthRefusal::Temporary,
];
const FAILURES: [OpenFailure; 3] = [
    OpenFailure::InUse,
    OpenFailure::Temporary,
    OpenFailure::Permanent,
];
const BROKEN: [Broken; 3] = [Broken::LockLost, Broken::SpoolChanged, Broken::System];
const NOT_THERE: [Refusal; 2] = [Refusal::NoSuchMessage, Refusal::AlreadyDeleted];

/// Chooses a worker's answer to `request`.
fn reply(request: &FrontToWorker, tape: &mut Tape<'_>) -> Said {
    use FrontToWorker as F;
    use WorkerToFront as W;
    if matches!(request, F::Quit) {
        return match tape.choose(4) {
            0 => Said::Ended(false),
            1 => Said::Ended(true),
            2 => Said::Worker(W::NotCommitted(tape.of(&BROKEN))),
            _ => Said::Worker(W::Committed(UPDATE)),
        };
    }
    let all = (0..KINDS).map(|kind| worker(kind, tape));
    let possible: Vec<W> = all.filter(|answer| answers(request, answer)).collect();
    // Refusals are chosen less often than other answers.
    let usual = possible.iter().filter(|a| !matches!(a, W::Refused(_)));
    let chosen = match tape.choose(8) {
        0 => possible.last(),
        _ => usual.last(),
    };
    chosen.map_or(Said::Gone, |answer| Said::Worker(answer.clone()))
}

/// Whether `answer` answers `request`, by the rules of the channel between front and worker.
fn answers(request: &FrontToWorker, answer: &WorkerToFront) -> bool {
    use FrontToWorker as F;
    use WorkerToFront as W;
    match (request, answer) {
        (F::OfOne(asked, OfOne::Whole), W::Ahead(ahead, _)) => asked == ahead,
        (F::Stat | F::Rset, W::Totals(_))
        | (F::OfAll(_), W::Listing(_))
        | (F::OfOne(_, OfOne::Size), W::Size(..))
        | (F::OfOne(_, OfOne::UniqueId), W::Unique(..))
        | (F::OfOne(_, OfOne::Whole | OfOne::Top(_)), W::Body(_))
        | (F::OfOne(_, OfOne::Delete), W::Deleted(..))
        | (F::OfOne(..), W::Refused(_)) => true,
        (F::Quit, W::Committed(_) | W::NotCommitted(_)) => true,
        _ => false,
    }
}

/// The number of kinds of a worker's messages.
const KINDS: u8 = 13;

/// A worker's message of this kind.
fn worker(kind: u8, tape: &mut Tape<'_>) -> WorkerToFront {
    use WorkerToFront as W;
    let text = "x";
    match kind {
        0 => W::Opened(TOTALS),
        1 => W::NotOpened(tape.of(&FAILURES)),
        2 => W::Totals(TOTALS),
        3 => W::Listing(TOTALS),
        4 => W::Size(ONE, u64::MAX),
        5 => W::Unique(ONE, Text::truncated(&text.repeat(70))),
        6 => W::Body(u64::MAX),
        7 => W::Ahead(ONE, 0),
        8 => W::Deleted(ONE, u64::MAX),
        9 => W::Broken(tape.of(&BROKEN)),
        10 => W::Committed(UPDATE),
        11 => W::NotCommitted(tape.of(&BROKEN)),
        _ => W::Refused(tape.of(&NOT_THERE)),
    }
}

/// A message of a process, or an event.
#[derive(Debug)]
pub enum Said {
    Secured(Offer),
    Refused(AuthRefusal),
    Challenge(String),
    Signature,
    Granted,
    NoSession,
    Worker(WorkerToFront),
    Data(bool),
    Gone,
    Ended(bool),
}

impl Said {
    fn challenge(nonce: &str) -> Self {
        Self::Challenge(format!("r={nonce}x,s=QUJD,i=4096"))
    }

    /// Chooses any message, except for the end of a handshake: the front does handshakes itself.
    pub fn anything(tape: &mut Tape<'_>) -> Self {
        match tape.choose(11 + KINDS) {
            0 => Self::Refused(tape.of(&REFUSALS)),
            1 => Self::challenge("other"),
            2 => Self::Signature,
            3 => Self::Granted,
            4 => Self::NoSession,
            5 | 6 => Self::Data(true),
            7 => Self::Data(false),
            8 => Self::Gone,
            9 => Self::Ended(false),
            10 => Self::Ended(true),
            kind => Self::Worker(worker(kind - 11, tape)),
        }
    }

    /// Whether this message ends a session if it is not an answer. A late message of auth does not,
    /// and data after the end of a reply does not.
    pub fn ends(&self, due: Option<&Due>) -> bool {
        match self {
            Self::Refused(_) | Self::Challenge(_) | Self::Signature => {
                matches!(due, Some(Due::Login(_)))
            }
            Self::Granted | Self::Data(_) | Self::Secured(_) => false,
            Self::NoSession | Self::Worker(_) | Self::Gone | Self::Ended(_) => {
                !due.is_some_and(Due::is_update)
            }
        }
    }

    /// Passes this message to the protocol.
    pub fn to(&self, pop3: &mut Pop3, out: &mut Vec<u8>) -> Action {
        match self {
            Self::Secured(offer) => {
                pop3.secured(*offer);
                Action::None
            }
            Self::Refused(why) => pop3.auth_refused(*why, out),
            Self::Challenge(first) => pop3.auth_challenge(first, out),
            Self::Signature => pop3.auth_signature(&vec![1; 32].try_into().ok().unwrap(), out),
            Self::Granted => {
                pop3.granted(UserName::try_from("granted".to_owned()).ok().unwrap(), 60);
                Action::None
            }
            Self::NoSession => pop3.no_session(out),
            Self::Worker(message) => pop3.worker(message, out),
            Self::Data(last) => {
                pop3.data(*last, out);
                Action::None
            }
            Self::Gone => pop3.worker_gone(out),
            Self::Ended(finished) => pop3.worker_ended(*finished, out),
        }
    }

    /// The possible beginnings of the reply to the client, if this answers `due`.
    pub fn begins(&self, due: &Due) -> &'static [&'static str] {
        use WorkerToFront as W;
        match (self, due) {
            (Self::Secured(_) | Self::Data(false) | Self::Granted, _) => &[""],
            (Self::Data(true), _) => &[".\r\n"],
            (Self::Refused(AuthRefusal::TooSoon), _) => &["-ERR [LOGIN-DELAY] "],
            (Self::Refused(AuthRefusal::Temporary), _) => &["-ERR [SYS/TEMP] "],
            (Self::Refused(AuthRefusal::Credentials), _) => &["-ERR [AUTH] ", "+ "],
            // A challenge may belong to another exchange. An impossible name gets no signature.
            (Self::Challenge(_) | Self::Signature, _) => &["+ ", "-ERR [SYS/TEMP] "],
            (Self::Worker(W::NotOpened(OpenFailure::InUse)), _) => &["-ERR [IN-USE] "],
            (Self::Worker(W::NotOpened(OpenFailure::Permanent)), _) => &["-ERR [SYS/PERM] "],
            (Self::Worker(W::Refused(_)), _) => &["-ERR "],
            // The client is answered only when the worker has ended.
            (Self::Worker(_), Due::Answer(FrontToWorker::Quit)) => &[""],
            (Self::Worker(W::Opened(_)), _) => &["+OK ", "-ERR [SYS/TEMP] "],
            (Self::Ended(true), _) | (Self::Ended(false), Due::End(true)) => &["+OK "],
            (Self::NoSession | Self::Gone | Self::Ended(false), _)
            | (Self::Worker(W::NotOpened(_)), _) => &["-ERR [SYS/TEMP] "],
            (Self::Worker(_), _) => &["+OK "],
        }
    }
}
