//! The configuration file as it is written: every key, its type and its default. What it means is checked elsewhere.

use super::removed::{BULLETINS, LAST, Removed, YIELD_IDLE};
use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) server: Server,
    #[serde(default)]
    pub(super) accounts: Accounts,
    #[serde(default)]
    pub(super) listen: Vec<Listen>,
    #[serde(default)]
    pub(super) certificate: Vec<Certificate>,
    #[serde(default)]
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) auth: Auth,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default, rename = "lock")]
    _lock: Lock,
    #[serde(default, rename = "bulletins")]
    _bulletins: Removed<BULLETINS>,
    #[serde(default)]
    pub(super) pop3: Pop3,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) proxy: Proxy,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) account: Vec<Spanned<Account>>,
}

/// A string with its place in the file.
pub(super) type Placed = Spanned<String>;

/// An account or a group, by name or by number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(u32),
    Name(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) libexec: Option<Placed>,
    pub(super) state: Option<Placed>,
    pub(super) host: Option<Placed>,
    pub(super) shutdown_grace: Option<u16>,
    pub(super) fronts: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accounts {
    pub(super) front: Option<Spanned<Id>>,
    pub(super) auth: Option<Spanned<Id>>,
    pub(super) keys: Option<Spanned<Id>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: Placed,
    #[serde(default)]
    pub(super) tls: bool,
    pub(super) proxy: Option<Placed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) chain: Placed,
    pub(super) key: Placed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) minimum: Option<Placed>,
    pub(super) client_ca: Option<Placed>,
    pub(super) ticket_rotation: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) source: Option<Placed>,
    pub(super) passwd_file: Option<Placed>,
    pub(super) pam_service: Option<Placed>,
    pub(super) checkpassword: Option<Placed>,
    pub(super) conversation_limit: Option<u16>,
    pub(super) conversations: Option<u16>,
    pub(super) first_uid: Option<Spanned<u32>>,
    pub(super) last_uid: Option<u32>,
    pub(super) lower_case: Option<bool>,
    pub(super) trim_domain: Option<Spanned<Vec<String>>>,
    pub(super) allow_file: Option<Placed>,
    pub(super) deny_file: Option<Placed>,
    pub(super) groups: Option<Spanned<Vec<Id>>>,
    pub(super) login_delay: Option<Spanned<u32>>,
    pub(super) failure_delay_ms: Option<Spanned<u32>>,
    pub(super) source_failures: Option<u32>,
    pub(super) source_half_life: Option<u32>,
    pub(super) source_wait_max: Option<Spanned<u32>>,
    pub(super) source_exempt: Option<Spanned<Vec<String>>>,
    pub(super) account_failures: Option<u32>,
    pub(super) account_window: Option<u32>,
    pub(super) plaintext: Option<Placed>,
    pub(super) mechanisms: Option<Spanned<Vec<String>>>,
    pub(super) oauth2: Option<Spanned<OAuth2>>,
    pub(super) certificate_user: Option<Placed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OAuth2 {
    pub(super) keys: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) user_claim: Option<String>,
    #[serde(default)]
    pub(super) scope: Vec<String>,
    pub(super) program: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) path: Option<Placed>,
    pub(super) group: Option<Spanned<Id>>,
    pub(super) locks: Option<Spanned<Vec<String>>>,
    pub(super) lock_timeout: Option<Spanned<u16>>,
    pub(super) uidl: Option<Spanned<Vec<String>>>,
    pub(super) hide: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    #[serde(default, rename = "yield_idle")]
    _yield_idle: Removed<YIELD_IDLE>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pop3 {
    pub(super) greeting: Option<Placed>,
    pub(super) implementation: Option<Placed>,
    #[serde(default, rename = "last")]
    _last: Removed<LAST>,
    pub(super) utf8: Option<Placed>,
    pub(super) language: Option<Placed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) unauthenticated: Option<Spanned<u32>>,
    pub(super) connections_per_address: Option<u32>,
    pub(super) connections_per_prefix: Option<u32>,
    pub(super) connections_per_minute: Option<u32>,
    pub(super) sessions_per_user: Option<u32>,
    pub(super) login: Option<u16>,
    pub(super) idle: Option<u16>,
    pub(super) line: Option<u16>,
    pub(super) stall: Option<u16>,
    pub(super) rate: Option<u32>,
    pub(super) session: Option<u32>,
    pub(super) open: Option<u16>,
    pub(super) bad_commands: Option<u32>,
    pub(super) failed_logins: Option<u32>,
}

/// Networks, as `"192.0.2.0/24"` or `"2001:db8::/32"`; an address alone is one.
pub(super) type Networks = Option<Vec<Placed>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) networks: Networks,
    pub(super) xclient: Networks,
    pub(super) tls: Networks,
    pub(super) plaintext: Networks,
    pub(super) header: Option<u16>,
    pub(super) connections: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) to: Option<Placed>,
    pub(super) level: Option<Placed>,
    #[serde(default)]
    pub(super) qpopper: bool,
}

/// What holds for some accounts: keys of the sections above, by the same names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) users: Vec<Placed>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<Id>>,
    #[serde(default)]
    pub(super) spool: AccountSpool,
    #[serde(default, rename = "lock")]
    _lock: Lock,
    #[serde(default, rename = "bulletins")]
    _bulletins: Removed<BULLETINS>,
    #[serde(default)]
    pub(super) auth: AccountAuth,
    #[serde(default)]
    pub(super) limits: AccountLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountSpool {
    pub(super) path: Option<Placed>,
    pub(super) group: Option<Spanned<Id>>,
    pub(super) lock_timeout: Option<Spanned<u16>>,
    pub(super) uidl: Option<Spanned<Vec<String>>>,
    pub(super) hide: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountAuth {
    pub(super) login_delay: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountLimits {
    pub(super) sessions_per_user: Option<u32>,
}
