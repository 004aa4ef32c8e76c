//! What messages consist of.

use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::account_selector::AccountSelector;
use popward_proto::auth::{Client, Credentials, FrontToAuth};
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::keys::{KeyId, TicketKey};
use popward_proto::log::{Level, Record};
use popward_proto::monitor_auth::{
    AccountSource, Admission, AuthSettings, ConversationLimits, NameRules, Throttle,
};
use popward_proto::monitor_front::{FrontSettings, Limits, Plaintext, Pop3Settings, TlsSettings};
use popward_proto::monitor_keys::KeyFacts;
use popward_proto::pattern::{Part, Pattern};
use popward_proto::proxies::Proxies;
use popward_proto::secret::Secret;
use popward_proto::session::MessageNumber;
use popward_proto::sessions_worker::{Job, LockSettings, Task};
use popward_proto::settings::{Settings, Spool};
use popward_proto::supervisor_monitor::{CommonSettings, Start};
use std::cell::Cell;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// The user whom messages name and whom their sender has no right to speak for.
pub const VICTIM: &str = "victim";
/// The user id of [`VICTIM`].
pub const VICTIM_ID: u32 = 64505;
/// An address that no client of the test has.
pub const ELSEWHERE: &str = "192.0.2.66";

pub fn name() -> UserName {
    UserName::try_from(VICTIM.to_owned()).unwrap()
}

pub fn text<const N: usize>() -> Text<N> {
    Text::truncated("text")
}

pub fn list<T, const N: usize>(items: Vec<T>) -> List<T, N> {
    List::try_from(items).ok().unwrap()
}

pub fn path() -> AbsolutePath {
    AbsolutePath::try_from("/etc/passwd".to_owned()).unwrap()
}

pub fn secret<const N: usize>() -> Secret<N> {
    Secret::try_from(b"secret".to_vec()).unwrap()
}

pub fn peer() -> IpAddr {
    ELSEWHERE.parse().unwrap()
}

/// A session and a front that no server has.
fn nobodys() -> (SessionId, FrontId) {
    (SessionId::new(FrontId(0xfff), 7), FrontId(0xfff))
}

thread_local! {
    /// The session and the front that messages are about.
    static ABOUT: Cell<(SessionId, FrontId)> = Cell::new(nobodys());
}

/// Makes messages of this thread be about a session and a front that no server has.
pub fn set_about_nobody() {
    ABOUT.set(nobodys());
}

/// Makes messages of this thread be about a session and a front.
pub fn set_about(session: SessionId, front: FrontId) {
    ABOUT.set((session, front));
}

pub fn session() -> SessionId {
    ABOUT.get().0
}

pub fn front() -> FrontId {
    ABOUT.get().1
}

/// The victim's account.
pub fn account() -> Account {
    Account {
        name: name(),
        uid: VICTIM_ID,
        gid: VICTIM_ID,
        groups: List::default(),
        home: None,
        spool: None,
    }
}

pub fn first() -> MessageNumber {
    MessageNumber(NonZeroU32::MIN)
}

pub fn common() -> CommonSettings {
    CommonSettings {
        libexec: path(),
        grace_s: 5,
        log_level: Level::Info,
    }
}

/// A record about the victim.
pub fn record() -> Record {
    let field = |name: &str, value: &str| (Text::truncated(name), Text::truncated(value));
    Record {
        level: Level::Error,
        session: Some(session()),
        qpopper: false,
        text: Text::truncated(&format!("attack user={VICTIM}")),
        fields: list(vec![field("user", VICTIM), field("peer", ELSEWHERE)]),
    }
}

pub fn facts() -> KeyFacts {
    KeyFacts {
        key: KeyId(0),
        schemes: list(vec![0x0403]),
        public_key: list(vec![7; 91]),
    }
}

pub fn pattern() -> Pattern {
    Pattern::try_from(list(vec![
        Part::Literal(Text::truncated("/mail/")),
        Part::User,
    ]))
    .unwrap()
}

pub fn locks() -> LockSettings {
    LockSettings {
        dotlock: true,
        fcntl: true,
        flock: true,
        timeout_ms: 1,
    }
}

pub fn for_all() -> Settings {
    Settings {
        spool: Spool {
            pattern: pattern(),
            group: None,
            locks: locks(),
            adopt: List::default(),
            hide: List::default(),
        },
        sessions_per_user: 1,
        login_delay_s: 0,
    }
}

pub fn front_settings() -> FrontSettings {
    FrontSettings {
        version: popward_proto::VERSION,
        front: FrontId(1),
        connections_known: true,
        tells_expiry: true,
        plaintext: Plaintext::Always,
        mechanisms: List::default(),
        host: text(),
        tls: TlsSettings {
            only_1_3: false,
            ticket_ms: 0,
        },
        limits: Limits {
            connections: 1,
            unauthenticated: 1,
            connections_per_address: 1,
            connections_per_prefix: 1,
            connections_per_minute: 0,
            login_ms: 1,
            idle_ms: 1,
            line_ms: 1,
            stall_ms: 1,
            rate: 1,
            yield_ms: None,
            session_ms: 1,
            open_ms: 1,
            bad_commands: 1,
            failed_logins: 1,
            drain_ms: 1,
        },
        pop3: Pop3Settings::DEFAULT,
        proxies: Proxies {
            networks: List::default(),
            xclient: List::default(),
            tls: List::default(),
            plaintext: List::default(),
            header_ms: 1,
            connections: 1,
        },
    }
}

pub fn auth_settings() -> AuthSettings {
    AuthSettings {
        source: AccountSource::PasswdFile { path: path() },
        names: NameRules {
            lower_case: false,
            trim_domains: List::default(),
        },
        admission: Admission {
            first_uid: 1,
            last_uid: 2,
            allow_file: None,
            deny_file: None,
            groups: List::default(),
            login_delay_s: 0,
        },
        throttle: Throttle {
            failure_delay_ms: 1,
            source_failures: 0,
            source_half_life_s: 1,
            source_wait_max_ms: 1,
            exempt: List::default(),
            account_failures: 0,
            account_window_s: 1,
        },
        tokens: None,
        certificates: None,
        conversation_limits: ConversationLimits {
            limit_ms: 1,
            at_once: 1,
        },
    }
}

pub fn selector() -> AccountSelector {
    AccountSelector {
        users: list(vec![name()]),
        groups: List::default(),
    }
}

pub fn start() -> Start {
    Start {
        version: popward_proto::VERSION,
        first_front: FrontId(1),
        trial: false,
        oldest: true,
        connections_before: None,
        common: common(),
    }
}

pub fn job() -> Job {
    Job {
        version: popward_proto::VERSION,
        session: session(),
        task: Task::Serve,
        user: name(),
        uid: VICTIM_ID,
        gid: VICTIM_ID,
        groups: List::default(),
        spool_directory: path(),
        spool_name: name(),
        state_directory: None,
        host: text(),
        locks: locks(),
        adopt: List::default(),
        hide: List::default(),
    }
}

/// A check of a wrong password of the victim.
pub fn check(session: SessionId) -> FrontToAuth {
    FrontToAuth::Check {
        session,
        credentials: Credentials::Password {
            user: name(),
            secret: secret(),
        },
        impossible: None,
        client: Client {
            peer: peer(),
            tls: true,
        },
    }
}

pub fn ticket_key() -> TicketKey {
    TicketKey {
        name: [1; 16],
        secret: [2; 32],
    }
}

/// The check of other credentials of the victim.
pub fn with(credentials: Credentials) -> FrontToAuth {
    let FrontToAuth::Check {
        session,
        impossible,
        client,
        ..
    } = check(session())
    else {
        unreachable!()
    };
    FrontToAuth::Check {
        session,
        credentials,
        impossible,
        client,
    }
}
