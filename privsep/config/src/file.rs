//! The form of popward.toml: every key and its type. `check` checks the values and sets the
//! defaults.

use crate::removed::{BULLETINS, FAILURE_DELAY_MS, LAST, Removed, UIDL, YIELD_IDLE};
use crate::values::{Id, Size, Time, TimeOrNever};
use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) server: Server,
    #[serde(default)]
    pub(crate) accounts: Accounts,
    #[serde(default)]
    pub(crate) listen: Vec<Listen>,
    #[serde(default)]
    pub(crate) certificate: Vec<Certificate>,
    #[serde(default)]
    pub(crate) tls: Tls,
    #[serde(default)]
    pub(crate) auth: Auth,
    #[serde(default)]
    pub(crate) spool: Spool,
    #[serde(default)]
    pub(crate) adopt: Adopt,
    #[serde(default, rename = "lock")]
    _lock: Lock,
    #[serde(default, rename = "bulletins")]
    _bulletins: Removed<BULLETINS>,
    #[serde(default)]
    pub(crate) pop3: Pop3,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) proxy: Proxy,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) account: Vec<Spanned<Account>>,
}

/// A string and its position in the file.
pub(crate) type Placed = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) libexec: Option<Placed>,
    pub(crate) state: Option<Placed>,
    pub(crate) host: Option<Placed>,
    pub(crate) shutdown_grace: Option<Spanned<Time>>,
    pub(crate) fronts: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accounts {
    pub(crate) front: Option<Spanned<Id>>,
    pub(crate) auth: Option<Spanned<Id>>,
    pub(crate) keys: Option<Spanned<Id>>,
    pub(crate) program: Option<Spanned<Id>>,
    pub(crate) pam: Option<Spanned<Id>>,
    pub(crate) pam_group: Option<Spanned<Id>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) address: Placed,
    #[serde(default)]
    pub(crate) tls: bool,
    pub(crate) proxy: Option<Placed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) chain: Placed,
    pub(crate) key: Placed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) minimum: Option<Placed>,
    pub(crate) client_ca: Option<Placed>,
    pub(crate) ticket_rotation: Option<Spanned<Time>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) source: Option<Placed>,
    pub(crate) passwd_file: Option<Placed>,
    pub(crate) pam_service: Option<Placed>,
    pub(crate) checkpassword: Option<Placed>,
    pub(crate) conversation_limit: Option<Spanned<Time>>,
    pub(crate) conversations: Option<u16>,
    pub(crate) first_uid: Option<Spanned<u32>>,
    pub(crate) last_uid: Option<u32>,
    pub(crate) lower_case: Option<bool>,
    pub(crate) trim_domain: Option<Spanned<Vec<String>>>,
    pub(crate) allow_file: Option<Placed>,
    pub(crate) deny_file: Option<Placed>,
    pub(crate) groups: Option<Spanned<Vec<Id>>>,
    pub(crate) login_delay: Option<Spanned<Time>>,
    pub(crate) failure_delay: Option<Spanned<Time>>,
    #[serde(default, rename = "failure_delay_ms")]
    _failure_delay_ms: Removed<FAILURE_DELAY_MS>,
    pub(crate) source_failures: Option<u32>,
    pub(crate) source_half_life: Option<Spanned<Time>>,
    pub(crate) source_wait_max: Option<Spanned<Time>>,
    pub(crate) source_exempt: Option<Spanned<Vec<String>>>,
    pub(crate) account_failures: Option<u32>,
    pub(crate) account_window: Option<Spanned<Time>>,
    pub(crate) plaintext: Option<Placed>,
    pub(crate) mechanisms: Option<Spanned<Vec<String>>>,
    pub(crate) oauth2: Option<Spanned<OAuth2>>,
    pub(crate) certificate_user: Option<Placed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuth2 {
    pub(crate) keys: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) user_claim: Option<String>,
    #[serde(default)]
    pub(crate) scope: Vec<String>,
    pub(crate) program: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spool {
    pub(crate) path: Option<Placed>,
    pub(crate) group: Option<Spanned<Id>>,
    pub(crate) locks: Option<Spanned<Vec<String>>>,
    pub(crate) lock_timeout: Option<Spanned<Time>>,
    #[serde(default, rename = "uidl")]
    _uidl: Removed<UIDL>,
    pub(crate) hide: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adopt {
    pub(crate) from: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    #[serde(default, rename = "yield_idle")]
    _yield_idle: Removed<YIELD_IDLE>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pop3 {
    pub(crate) greeting: Option<Placed>,
    pub(crate) implementation: Option<Placed>,
    #[serde(default, rename = "last")]
    _last: Removed<LAST>,
    pub(crate) utf8: Option<Placed>,
    pub(crate) language: Option<Placed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: Option<Spanned<u32>>,
    pub(crate) unauthenticated: Option<Spanned<u32>>,
    pub(crate) connections_per_address: Option<u32>,
    pub(crate) connections_per_prefix: Option<u32>,
    pub(crate) connections_per_minute: Option<u32>,
    pub(crate) sessions_per_user: Option<u32>,
    pub(crate) login: Option<Spanned<Time>>,
    pub(crate) idle: Option<Spanned<Time>>,
    pub(crate) line: Option<Spanned<Time>>,
    pub(crate) stall: Option<Spanned<Time>>,
    pub(crate) rate: Option<Spanned<Size>>,
    pub(crate) session: Option<Spanned<Time>>,
    pub(crate) open: Option<Spanned<Time>>,
    pub(crate) yield_to_newcomer: Option<Spanned<TimeOrNever>>,
    pub(crate) bad_commands: Option<u32>,
    pub(crate) failed_logins: Option<u32>,
}

/// Networks, such as `"192.0.2.0/24"` or `"2001:db8::/32"`. A single address is a network too.
pub(crate) type Networks = Option<Vec<Placed>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxy {
    pub(crate) networks: Networks,
    pub(crate) xclient: Networks,
    pub(crate) tls: Networks,
    pub(crate) plaintext: Networks,
    pub(crate) header: Option<Spanned<Time>>,
    pub(crate) connections: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) to: Option<Placed>,
    pub(crate) level: Option<Placed>,
    #[serde(default)]
    pub(crate) qpopper: bool,
}

/// `[[account]]`: settings for some accounts. The keys have the same names as in the sections
/// above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    #[serde(default)]
    pub(crate) users: Vec<Placed>,
    #[serde(default)]
    pub(crate) groups: Vec<Spanned<Id>>,
    #[serde(default)]
    pub(crate) spool: AccountSpool,
    #[serde(default)]
    pub(crate) adopt: Adopt,
    #[serde(default, rename = "lock")]
    _lock: Lock,
    #[serde(default, rename = "bulletins")]
    _bulletins: Removed<BULLETINS>,
    #[serde(default)]
    pub(crate) auth: AccountAuth,
    #[serde(default)]
    pub(crate) limits: AccountLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountSpool {
    pub(crate) path: Option<Placed>,
    pub(crate) group: Option<Spanned<Id>>,
    pub(crate) lock_timeout: Option<Spanned<Time>>,
    #[serde(default, rename = "uidl")]
    _uidl: Removed<UIDL>,
    pub(crate) hide: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountAuth {
    pub(crate) login_delay: Option<Spanned<Time>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountLimits {
    pub(crate) sessions_per_user: Option<u32>,
}
