//! One message of each kind of each protocol. A kind without one does not compile.

use super::values::*;
pub use super::values::{ELSEWHERE, VICTIM, VICTIM_ID, set_about, set_about_nobody};
use popward_proto::account::FrontId;
use popward_proto::auth::{
    AuthRefusal, AuthToFront, Credentials, FrontToAuth, ScramHash, ScramProof,
};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::auth_handover::AuthToSuccessor;
use popward_proto::auth_sessions::{AuthToSessions, SessionsToAuth};
use popward_proto::bounded::List;
use popward_proto::codec::{MESSAGE_LIMIT, encode};
use popward_proto::config_monitor::{Base, ConfigToMonitor};
use popward_proto::config_names::{ConfigToNames, NamesToConfig};
use popward_proto::config_sessions::{ConfigToSessions, Member, SessionsBase};
use popward_proto::keys::{FrontToKeys, KeyId, KeysToFront, TicketKeys};
use popward_proto::listen::ProxyHeaders;
use popward_proto::log::{Level, Record};
use popward_proto::log_line::{Line, Origin, Role};
use popward_proto::monitor_auth::{
    AuthToMonitor, CertificateUser, ConversationId, ConversationKind, MonitorToAuth, TokenRules,
};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_sessions::{MonitorToSessions, Peer, SessionsToMonitor};
use popward_proto::permit::Message;
use popward_proto::session::{
    Broken, FrontToWorker, OfAll, OfOne, OpenFailure, Refusal, Totals, Update, WorkerToFront,
};
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::{SessionsToWorker, WorkerToSessions};
use popward_proto::settings::Table;
use popward_proto::stream::data_tag;
use popward_proto::supervisor_config::{
    ConfigToSupervisor, Encoded, SupervisorSettings, SupervisorToConfig,
};
use popward_proto::supervisor_log::{Destination, SupervisorToLog};
use popward_proto::supervisor_monitor::{MonitorToSupervisor, SupervisorToMonitor};
use popward_proto::supervisor_sessions::{Claim, SessionsToSupervisor, SupervisorToSessions};

/// A message as it is sent.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The direction: the name of its type.
    pub of: &'static str,
    /// Its kind, as the permit table calls it.
    pub kind: &'static str,
    /// The same, with what tells it from others of its kind.
    pub label: String,
    /// The packet.
    pub packet: Vec<u8>,
    /// How many descriptors it brings.
    pub descriptors: usize,
    /// Whether it may come only once.
    pub once: bool,
}

/// The packet of a message that fits `pattern`.
fn labelled<M: Kinds>(message: &M, pattern: &str) -> Sample {
    let mut sample = sample(M::NAME, message);
    // `Self::Kind(_, Other::Detail)` is more than `Kind`.
    if let Some(detail) = pattern.split("::").nth(2) {
        let is_part = |c: char| c.is_alphanumeric();
        let detail: String = detail.trim().chars().take_while(|c| is_part(*c)).collect();
        sample.label = format!("{} ({detail})", sample.kind);
    }
    sample
}

fn sample<M: Message>(of: &'static str, message: &M) -> Sample {
    let mut packet = vec![0; MESSAGE_LIMIT];
    let length = encode(message, &mut packet).unwrap();
    packet.truncate(length);
    if message.announces() {
        let length = u8::try_from(length - 1).unwrap();
        packet.splice(..1, [data_tag(true, false), length]);
        packet.extend_from_slice(b"data\r\n");
    }
    let permit = message.permit();
    Sample {
        of,
        kind: permit.kind,
        label: permit.kind.to_owned(),
        packet,
        descriptors: permit.descriptors,
        once: permit.once,
    }
}

/// The messages of one direction.
pub trait Kinds: Message {
    /// The direction's name.
    const NAME: &'static str;
    /// One message of each kind.
    fn messages() -> Vec<Self>;
    /// The same, as they are sent.
    fn samples() -> Vec<Sample>;
}

macro_rules! kinds {
    ($($direction:ident { $($pattern:pat => $sample:expr),+ $(,)? })+) => {
        $(impl Kinds for $direction {
            const NAME: &'static str = stringify!($direction);
            fn messages() -> Vec<Self> {
                // A kind that is missing here does not compile.
                let _complete = |message: &Self| match message {
                    $($pattern => ()),+
                };
                vec![$($sample),+]
            }
            fn samples() -> Vec<Sample> {
                let patterns = [$(stringify!($pattern)),+];
                let messages = Self::messages();
                let samples = messages.iter().zip(patterns);
                samples.map(|(message, pattern)| labelled(message, pattern)).collect()
            }
        })+

        /// One message of each kind of each direction.
        pub fn all() -> Vec<Sample> {
            let mut all = Vec::new();
            $(all.extend($direction::samples());)+
            all
        }
    };
}

kinds! {
    FrontToMonitor {
        Self::Ready { .. } => Self::Ready { version: popward_proto::VERSION },
        Self::Unusable { .. } => Self::Unusable { key: Some(KeyId(0)), why: text() },
        Self::Drained => Self::Drained,
    }
    MonitorToFront {
        Self::Settings(_) => Self::Settings(Box::new(front_settings())),
        Self::Listener { .. } => Self::Listener { tls: false, headers: ProxyHeaders::Off },
        Self::ClientAuthorities => Self::ClientAuthorities,
        Self::Certificate(_) => Self::Certificate(facts()),
        Self::Sessions => Self::Sessions,
        Self::Auth => Self::Auth,
        Self::Keys => Self::Keys,
        Self::Serve => Self::Serve,
        Self::Accept => Self::Accept,
        Self::Retire => Self::Retire,
        Self::Drain => Self::Drain,
    }
    FrontToAuth {
        Self::Check { credentials: Credentials::Password { .. }, .. } => check(session()),
        Self::Check { credentials: Credentials::Apop { .. }, .. } => with(Credentials::Apop {
            user: name(), timestamp: text(), digest: [0; 16],
        }),
        Self::Check { credentials: Credentials::CramMd5 { .. }, .. } => with(Credentials::CramMd5 {
            user: name(), challenge: text(), digest: [0; 16],
        }),
        Self::Check { credentials: Credentials::Scram { .. }, .. } => with(Credentials::Scram {
            hash: ScramHash::Sha256, user: name(), first_bare: text(), nonce: text(),
        }),
        Self::Check { credentials: Credentials::Token { .. }, .. } => with(Credentials::Token {
            user: Some(name()), token: secret(),
        }),
        Self::Check { credentials: Credentials::Certificate { .. }, .. } => {
            with(Credentials::Certificate {
                user: None, chain: List::default(), signed: list(vec![1]), scheme: 0x0403,
                signature: list(vec![1]),
            })
        },
        Self::Prove { .. } => Self::Prove {
            session: session(),
            proof: ScramProof { without_proof: text(), proof: list(vec![0; 32]) },
        },
        Self::Proceed(_) => Self::Proceed(session()),
        Self::Cancel(_) => Self::Cancel(session()),
        Self::Last => Self::Last,
    }
    AuthToFront {
        Self::Refused { .. } => Self::Refused {
            session: session(), why: AuthRefusal::Credentials,
        },
        Self::Challenge { .. } => Self::Challenge { session: session(), first: text() },
        Self::Signature { .. } => Self::Signature {
            session: session(), signature: list(vec![0; 32]),
        },
    }
    FrontToKeys {
        Self::Sign { .. } => Self::Sign { key: KeyId(0), scheme: 0x0403, message: list(vec![1]) },
        Self::Tickets => Self::Tickets,
    }
    KeysToFront {
        Self::Signature(_) => Self::Signature(list(vec![1; 70])),
        Self::Refused => Self::Refused,
        Self::Tickets(_) => Self::Tickets(TicketKeys {
            current: ticket_key(), previous: None, left_ms: 1,
        }),
    }
    FrontToWorker {
        Self::Stat => Self::Stat,
        Self::OfOne(_, OfOne::Size) => Self::OfOne(first(), OfOne::Size),
        Self::OfOne(_, OfOne::UniqueId) => Self::OfOne(first(), OfOne::UniqueId),
        Self::OfOne(_, OfOne::Whole) => Self::OfOne(first(), OfOne::Whole),
        Self::OfOne(_, OfOne::Top(_)) => Self::OfOne(first(), OfOne::Top(1)),
        Self::OfOne(_, OfOne::Delete) => Self::OfOne(first(), OfOne::Delete),
        Self::OfAll(OfAll::Sizes) => Self::OfAll(OfAll::Sizes),
        Self::OfAll(OfAll::UniqueIds) => Self::OfAll(OfAll::UniqueIds),
        Self::Rset => Self::Rset,
        Self::Quit => Self::Quit,
    }
    WorkerToFront {
        Self::Opened(_) => Self::Opened(Totals::default()),
        Self::NotOpened(_) => Self::NotOpened(OpenFailure::Temporary),
        Self::Totals(_) => Self::Totals(Totals::default()),
        Self::Listing(_) => Self::Listing(Totals::default()),
        Self::Size(..) => Self::Size(first(), 1),
        Self::Unique(..) => Self::Unique(first(), text()),
        Self::Body(_) => Self::Body(1),
        Self::Ahead(..) => Self::Ahead(first(), 1),
        Self::Deleted(..) => Self::Deleted(first(), 1),
        Self::Refused(_) => Self::Refused(Refusal::NoSuchMessage),
        Self::Broken(_) => Self::Broken(Broken::LockLost),
        Self::Committed(_) => Self::Committed(Update {
            deleted: Totals::default(), left: Totals::default(),
        }),
        Self::NotCommitted(_) => Self::NotCommitted(Broken::System),
    }
    SessionsToWorker {
        Self::Job(_) => Self::Job(job()),
    }
    WorkerToSessions {
        Self::Dotlock { .. } => Self::Dotlock { device: 1, inode: 1 },
        Self::Updates => Self::Updates,
        Self::Finished => Self::Finished,
    }
    Record {
        Record { .. } => record(),
    }
    Line {
        Line { .. } => Line { origin: Origin { role: Role::Auth, pid: 1 }, record: record() },
    }
    MonitorToAuth {
        Self::Settings { .. } => Self::Settings {
            version: popward_proto::VERSION, settings: Box::new(auth_settings()),
        },
        Self::LoginDelay(..) => Self::LoginDelay(selector(), 1),
        Self::Sessions => Self::Sessions,
        Self::Front(_) => Self::Front(FrontId(1)),
        Self::OlderMonitor => Self::OlderMonitor,
        Self::Successor => Self::Successor,
        Self::Predecessor => Self::Predecessor,
        Self::Conversation(_) => Self::Conversation(ConversationId(1)),
    }
    AuthToMonitor {
        Self::Ready { .. } => Self::Ready { version: popward_proto::VERSION },
        Self::Unusable(_) => Self::Unusable(text()),
        Self::Converse(_, ConversationKind::Pam) => {
            Self::Converse(ConversationId(900), ConversationKind::Pam)
        },
        Self::Converse(_, ConversationKind::Checkpassword) => {
            Self::Converse(ConversationId(900), ConversationKind::Checkpassword)
        },
        Self::Converse(_, ConversationKind::TokenProgram) => {
            Self::Converse(ConversationId(900), ConversationKind::TokenProgram)
        },
        Self::Converse(_, ConversationKind::Proof) => {
            Self::Converse(ConversationId(900), ConversationKind::Proof)
        },
        Self::BrokeRules(_) => Self::BrokeRules(front()),
    }
    AuthToSessions {
        Self::Granted { .. } => Self::Granted { session: session(), account: account() },
        Self::Drained => Self::Drained,
    }
    SessionsToAuth {
        Self::NotOpened { .. } => Self::NotOpened { session: session(), user: name() },
    }
    AuthToConversation {
        Self::Pam { .. } => Self::Pam { user: name(), secret: Some(secret()), peer: peer() },
        Self::Checkpassword { .. } => Self::Checkpassword {
            user: name(), secret: secret(), peer: peer(),
        },
        Self::TokenProgram { .. } => Self::TokenProgram { token: secret(), peer: peer() },
        Self::Token { .. } => Self::Token {
            rules: TokenRules {
                issuer: text(), audience: text(), user_claim: text(), scopes: List::default(),
            },
            token: secret(),
        },
        Self::Certificate { .. } => Self::Certificate {
            name: CertificateUser::Email, chain: List::default(), signed: list(vec![1]),
            scheme: 0x0403, signature: list(vec![1]),
        },
    }
    ConversationToAuth {
        Self::Granted(_) => Self::Granted(account()),
        Self::Identified(_) => Self::Identified(name()),
        Self::Refused(_) => Self::Refused(text()),
        Self::Failed(_) => Self::Failed(text()),
    }
    AuthToSuccessor {
        Self::StandInKey(_) => Self::StandInKey([1; 32]),
        Self::Sources(_) => Self::Sources(List::default()),
        Self::Names(_) => Self::Names(List::default()),
        Self::LastLogins(_) => Self::LastLogins(List::default()),
        Self::UnderWay(_) => Self::UnderWay(list(vec![name()])),
        Self::Whole => Self::Whole,
        Self::Failed { .. } => Self::Failed { user: Some(name()), peer: peer() },
        Self::Succeeded(_) => Self::Succeeded(name()),
        Self::LoggedIn { .. } => Self::LoggedIn { user: name(), session: session() },
        Self::Decided(_) => Self::Decided(name()),
    }
    MonitorToKeys {
        Self::Settings { .. } => Self::Settings { version: popward_proto::VERSION, ticket_ms: 0 },
        Self::Key(_) => Self::Key(KeyId(0)),
        Self::Front(_) => Self::Front(FrontId(1)),
    }
    KeysToMonitor {
        Self::Ready { .. } => Self::Ready { version: popward_proto::VERSION },
        Self::Loaded(_) => Self::Loaded(facts()),
        Self::Unusable { .. } => Self::Unusable { key: KeyId(0), why: text() },
        Self::BrokeRules(_) => Self::BrokeRules(front()),
    }
    MonitorToSessions {
        Self::Log => Self::Log,
        Self::Accept => Self::Accept,
        Self::Auth => Self::Auth,
        Self::NewerAuth => Self::NewerAuth,
        Self::Front(_) => Self::Front(FrontId(1)),
        Self::Retire => Self::Retire,
        Self::Drain => Self::Drain,
    }
    SessionsToMonitor {
        Self::Ready { .. } => Self::Ready { version: popward_proto::VERSION },
        Self::Unusable(_) => Self::Unusable(text()),
        Self::BrokeRules(Peer::Auth, _) => Self::BrokeRules(Peer::Auth, text()),
        Self::BrokeRules(Peer::Front(_), _) => Self::BrokeRules(Peer::Front(FrontId(1)), text()),
        Self::AuthDrained => Self::AuthDrained,
        Self::Drained => Self::Drained,
    }
    SessionsToFront {
        Self::Session { .. } => Self::Session {
            session: session(), user: name(), login_delay_s: 0,
        },
        Self::NoSession { .. } => Self::NoSession { session: session(), too_many: true },
        Self::Ended { .. } => Self::Ended { session: session(), finished: true },
        Self::Newcomer(_) => Self::Newcomer(session()),
    }
    SupervisorToMonitor {
        Self::Listener { .. } => Self::Listener { tls: false, headers: ProxyHeaders::Off },
        Self::Start(_) => Self::Start(start()),
        Self::Log => Self::Log,
        Self::Accept => Self::Accept,
        Self::OlderMonitor => Self::OlderMonitor,
        Self::NewerAuth => Self::NewerAuth,
        Self::Retire => Self::Retire,
        Self::Oldest => Self::Oldest,
        Self::Drain => Self::Drain,
    }
    MonitorToSupervisor {
        Self::Ready { .. } => Self::Ready { version: popward_proto::VERSION },
        Self::Unusable(_) => Self::Unusable(text()),
        Self::Retired => Self::Retired,
        Self::NewAuth => Self::NewAuth,
        Self::Reload => Self::Reload,
    }
    SupervisorToSessions {
        Self::Start { .. } => Self::Start {
            version: popward_proto::VERSION, libexec: path(), state: path(),
            log_level: Level::Info, after_crash: false,
        },
        Self::Claimed(..) => Self::Claimed(session(), None),
        Self::Newcomer(_) => Self::Newcomer(session()),
    }
    SessionsToSupervisor {
        Self::Claim(_) => Self::Claim(Claim {
            session: session(), user: name(), directory: path(), spool: name(),
            sessions_max: 1, adopts: false,
        }),
        Self::Adopted(_) => Self::Adopted(session()),
        Self::Released(_) => Self::Released(session()),
    }
    SupervisorToLog {
        Self::Open { .. } => Self::Open { version: popward_proto::VERSION, pid: 1 },
        Self::To(_) => Self::To(Destination::Stderr),
        Self::Writer => Self::Writer,
    }
    SupervisorToConfig {
        Self::Read { .. } => Self::Read {
            version: popward_proto::VERSION, path: text(), excerpts: false,
        },
    }
    ConfigToSupervisor {
        Self::Warning(_) => Self::Warning(text()),
        Self::Refused(_) => Self::Refused(text()),
        Self::Settings(_) => Self::Settings(Box::new(SupervisorSettings {
            common: common(), state: path(), listen: List::default(), log: Destination::Stderr,
            connections: 1, certificate: true,
        })),
        Self::Part { .. } => Self::Part { encoded: Encoded(list(vec![1])), files: 1 },
        Self::SessionsPart(_) => Self::SessionsPart(Encoded(list(vec![1]))),
        Self::End => Self::End,
    }
    ConfigToMonitor {
        Self::Base(_) => Self::Base(Box::new(Base {
            fronts: 1, accounts: None, front: front_settings(),
        })),
        Self::Auth(_) => Self::Auth(Box::new(auth_settings())),
        Self::LoginDelay(..) => Self::LoginDelay(selector(), 1),
        Self::ClientAuthorities(_) => Self::ClientAuthorities(path()),
        Self::Certificate { .. } => Self::Certificate { chain: path(), key: path() },
        Self::End => Self::End,
    }
    ConfigToSessions {
        Self::Base(_) => Self::Base(Box::new(SessionsBase {
            host: text(), as_users: true, first_uid: 1, last_uid: 2, everybody: for_all(),
        })),
        Self::Table(_) => Self::Table(Box::new(Table {
            named: selector(), place: None, lock_timeout_ms: None, adopt: None, hide: None,
            sessions_per_user: None, login_delay_s: None,
        })),
        Self::Member(_) => Self::Member(Member { user: name(), uid: VICTIM_ID, gid: VICTIM_ID }),
        Self::End => Self::End,
    }
    ConfigToNames {
        Self::User(_) => Self::User(text()),
        Self::Group(_) => Self::Group(text()),
        Self::Members(_) => Self::Members(1),
    }
    NamesToConfig {
        Self::User(_) => Self::User(None),
        Self::Group(_) => Self::Group(None),
        Self::Member(_) => Self::Member(Some(name())),
        Self::Failed(_) => Self::Failed(text()),
    }
}
