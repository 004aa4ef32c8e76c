//! The keys of popward.toml: each key once, with its type and its default. `check` checks the
//! values.

use crate::removed::{BULLETINS, FAILURE_DELAY_MS, LAST, Removed, UIDL, YIELD_IDLE};
use crate::values::{Id, Size, Time, TimeOrNever};
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_front::Pop3Settings;
use popward_proto::sessions_worker::HIDDEN_MAX;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use toml::Spanned;

/// A string and its position in the file.
pub(crate) type Placed = Spanned<String>;

/// A number of at least 1 and its position in the file.
type Positive = Spanned<NonZeroU32>;

/// The value of a key that the file does not have. Its place is 0.
macro_rules! default {
    () => {
        None
    };
    ($value:expr) => {
        Spanned::new(0..0, $value)
    };
}

/// Declares a table. A key with `=` has this default. A key without has none, or its default
/// follows from something else.
macro_rules! table {
    ($name:ident {
        $($(#[$attribute:meta])* $key:ident: $kind:ty $(= $default:expr)?,)*
    }) => {
        #[derive(Debug, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($(#[$attribute])* pub(crate) $key: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: default!($($default)?),)* }
            }
        }
    };
}

/// The whole file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) accounts: Accounts,
    pub(crate) listen: Vec<Listen>,
    pub(crate) certificate: Vec<Certificate>,
    pub(crate) tls: Tls,
    pub(crate) auth: Auth,
    pub(crate) spool: Spool,
    pub(crate) adopt: Adopt,
    #[serde(rename = "lock", skip_serializing)]
    _lock: Lock,
    #[serde(rename = "bulletins", skip_serializing)]
    _bulletins: Removed<BULLETINS>,
    pub(crate) pop3: Pop3,
    pub(crate) limits: Limits,
    pub(crate) proxy: Proxy,
    pub(crate) log: Log,
    pub(crate) account: Vec<Spanned<Account>>,
}

impl File {
    /// The user of programs. `None`: there are none.
    pub(crate) fn program(&self) -> Option<Spanned<Id>> {
        let checks = self.auth.source.get_ref() == "checkpassword" || self.auth.oauth2.is_some();
        let by_default =
            (checks || self.tls.client_ca.is_some()).then(|| default!("_popward-program".into()));
        self.accounts.program.clone().or(by_default)
    }

    /// Sets the keys whose defaults follow from other keys.
    pub(crate) fn settle(&mut self) {
        self.accounts.program = self.program();
        let limits = &mut self.limits;
        limits.unauthenticated = Some(limits.unauthenticated());
        limits.connections_per_prefix = Some(limits.connections_per_prefix());
        self.spool.lock_timeout = Some(self.spool.lock_timeout(*self.limits.open.get_ref()));
    }
}

table! { Server {
    libexec: Placed = libexec(),
    state: Placed = "/var/lib/popward".into(),
    host: Placed = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
    shutdown_grace: Spanned<Time> = Time::s(30),
    fronts: Spanned<u32> = 1,
} }

/// The directory of this executable.
fn libexec() -> String {
    let own = std::env::current_exe().ok();
    let own = own.and_then(|own| own.parent()?.to_str().map(str::to_owned));
    own.filter(|own| AbsolutePath::try_from(own.clone()).is_ok())
        .unwrap_or_else(|| "/usr/libexec/popward".to_owned())
}

table! { Accounts {
    front: Spanned<Id> = "_popward".into(),
    auth: Spanned<Id> = "_popward-auth".into(),
    keys: Spanned<Id> = "_popward-keys".into(),
    program: Option<Spanned<Id>>,
    pam: Spanned<Id> = "_popward-pam".into(),
    pam_group: Option<Spanned<Id>>,
} }

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) address: Placed,
    #[serde(default)]
    pub(crate) tls: bool,
    #[serde(default = "networks")]
    pub(crate) proxy: Placed,
}

/// The default of `listen.proxy`.
fn networks() -> Placed {
    default!("networks".to_owned())
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) chain: Placed,
    pub(crate) key: Placed,
}

table! { Tls {
    minimum: Placed = "1.2".into(),
    client_ca: Option<Placed>,
    ticket_rotation: Spanned<Time> = Time::s(3600),
} }

table! { Auth {
    source: Placed = "passwd-file".into(),
    passwd_file: Placed = "/etc/popward/users".into(),
    pam_service: Placed = "popward".into(),
    checkpassword: Option<Placed>,
    conversation_limit: Spanned<Time> = Time::s(30),
    conversations: Spanned<u16> = 16,
    first_uid: Spanned<u32> = 1000,
    last_uid: Spanned<u32> = 65_533,
    lower_case: Spanned<bool> = false,
    trim_domain: Spanned<Vec<String>> = Vec::new(),
    allow_file: Option<Placed>,
    deny_file: Option<Placed>,
    groups: Spanned<Vec<Id>> = Vec::new(),
    login_delay: Spanned<Time> = Time::s(0),
    failure_delay: Spanned<Time> = Time::s(2),
    #[serde(rename = "failure_delay_ms", skip_serializing)]
    _failure_delay_ms: Option<Removed<FAILURE_DELAY_MS>>,
    source_failures: Spanned<u32> = 10,
    source_half_life: Spanned<Time> = Time::s(600),
    source_wait_max: Spanned<Time> = Time::s(16),
    source_exempt: Spanned<Vec<String>> = strings(&["127.0.0.0/8", "::1"]),
    account_failures: Spanned<u32> = 100,
    account_window: Spanned<Time> = Time::s(600),
    plaintext: Placed = "loopback".into(),
    mechanisms: Spanned<Vec<String>> = strings(&["user", "plain", "login"]),
    oauth2: Option<Spanned<OAuth2>>,
    certificate_user: Placed = "email".into(),
} }

table! { OAuth2 {
    keys: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    user_claim: Placed = "email".into(),
    scope: Spanned<Vec<String>> = Vec::new(),
    program: Option<String>,
} }

table! { Spool {
    path: Placed = "/var/mail/{user}".into(),
    group: Option<Spanned<Id>>,
    locks: Spanned<Vec<String>> = strings(&["dotlock", "fcntl", "flock"]),
    lock_timeout: Option<Spanned<Time>>,
    #[serde(rename = "uidl", skip_serializing)]
    _uidl: Option<Removed<UIDL>>,
    hide: Spanned<Vec<String>> = hidden(),
} }

/// The header fields in which mail programs keep their own notes. No other field can be hidden.
pub(crate) const HIDEABLE: [&str; HIDDEN_MAX] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-UIDL",
    "X-IMAP",
    "X-IMAPbase",
    "Content-Length",
    "Lines",
];

/// The default of `spool.hide`: all of [`HIDEABLE`] but `Lines`, because senders write `Lines` too.
fn hidden() -> Vec<String> {
    strings(HIDEABLE.split_last().map_or(&[], |(_, rest)| rest))
}

impl Spool {
    /// `open` is `limits.open`. A login must not time out before the client gets `[IN-USE]`.
    pub(crate) fn lock_timeout(&self, open: Time) -> Spanned<Time> {
        let default = Time::ms(open.ms.saturating_sub(1000).min(10_000));
        self.lock_timeout.clone().unwrap_or(default!(default))
    }
}

table! { Adopt {
    from: Spanned<Vec<String>> = Vec::new(),
} }

table! { Lock {
    #[serde(rename = "yield_idle", skip_serializing)]
    _yield_idle: Option<Removed<YIELD_IDLE>>,
} }

table! { Pop3 {
    greeting: Placed = Pop3Settings::GREETING.into(),
    implementation: Option<Placed>,
    #[serde(rename = "last", skip_serializing)]
    _last: Option<Removed<LAST>>,
    utf8: Placed = "pass".into(),
    language: Placed = "en".into(),
} }

table! { Limits {
    connections: Spanned<u32> = 4096,
    unauthenticated: Option<Spanned<u32>>,
    connections_per_address: Positive = at_least_1(64),
    connections_per_prefix: Option<Positive>,
    connections_per_minute: Spanned<u32> = 600,
    sessions_per_user: Positive = at_least_1(8),
    login: Spanned<Time> = Time::s(180),
    idle: Spanned<Time> = Time::s(600),
    line: Spanned<Time> = Time::s(60),
    stall: Spanned<Time> = Time::s(300),
    rate: Spanned<Size> = Size { octets: 64 },
    session: Spanned<Time> = Time::s(14_400),
    open: Spanned<Time> = Time::s(60),
    yield_to_newcomer: Spanned<TimeOrNever> = TimeOrNever(Some(Time::s(30))),
    bad_commands: Positive = at_least_1(20),
    failed_logins: Positive = at_least_1(3),
} }

impl Limits {
    /// The default is seven eighths of all connections. Only logged-in clients can use the last
    /// eighth.
    pub(crate) fn unauthenticated(&self) -> Spanned<u32> {
        let connections = *self.connections.get_ref();
        let default = connections - connections / 8;
        self.unauthenticated.clone().unwrap_or(default!(default))
    }

    /// The default is eight times those of an address.
    pub(crate) fn connections_per_prefix(&self) -> Positive {
        let default = self
            .connections_per_address
            .get_ref()
            .saturating_mul(at_least_1(8));
        self.connections_per_prefix
            .clone()
            .unwrap_or(default!(default))
    }
}

/// Networks, such as `"192.0.2.0/24"` or `"2001:db8::/32"`. A single address is a network too.
pub(crate) type Networks = Spanned<Vec<Placed>>;

table! { Proxy {
    networks: Networks = Vec::new(),
    xclient: Networks = Vec::new(),
    tls: Networks = Vec::new(),
    plaintext: Networks = Vec::new(),
    header: Spanned<Time> = Time::s(5),
    connections: Positive = at_least_1(512),
} }

table! { Log {
    to: Placed = "stderr".into(),
    level: Placed = "info".into(),
    qpopper: Spanned<bool> = false,
} }

/// `[[account]]`: settings for some accounts. The keys have the same names as in the sections
/// above, and no defaults.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Account {
    pub(crate) users: Vec<Placed>,
    pub(crate) groups: Vec<Spanned<Id>>,
    pub(crate) spool: AccountSpool,
    pub(crate) adopt: AccountAdopt,
    #[serde(rename = "lock", skip_serializing)]
    _lock: Lock,
    #[serde(rename = "bulletins", skip_serializing)]
    _bulletins: Removed<BULLETINS>,
    pub(crate) auth: AccountAuth,
    pub(crate) limits: AccountLimits,
}

table! { AccountSpool {
    path: Option<Placed>,
    group: Option<Spanned<Id>>,
    lock_timeout: Option<Spanned<Time>>,
    #[serde(rename = "uidl", skip_serializing)]
    _uidl: Option<Removed<UIDL>>,
    hide: Option<Spanned<Vec<String>>>,
} }

table! { AccountAdopt {
    from: Option<Spanned<Vec<String>>>,
} }

table! { AccountAuth {
    login_delay: Option<Spanned<Time>>,
} }

table! { AccountLimits {
    sessions_per_user: Option<Positive>,
} }

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// A default. 0 would become 1.
const fn at_least_1(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}
