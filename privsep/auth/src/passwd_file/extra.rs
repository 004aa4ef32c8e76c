//! The extra fields of a line that popward uses: `allow_nets`, `nologin`, `userdb_mail`.
//!
//! The other fields are Dovecot's. Those that bar, rename or move a user make the line unusable.
//! The rest is ignored.

use popward_proto::account::Account;
use popward_proto::bounded::AbsolutePath;
use popward_proto::network::Network;
use std::net::IpAddr;

/// Most networks in one `allow_nets`.
const NETWORKS_MAX: usize = 64;

/// The fields by which Dovecot bars, renames or moves users, and which popward does not implement.
/// Ignoring one would let in a user whom Dovecot refuses, or open another maildrop than Dovecot.
const REFUSED_FIELDS: [&str; 28] = [
    "allow_real_nets",
    "delay_until",
    "domain",
    "fail",
    "host",
    "login_user",
    "noauthenticate",
    "passdb_import",
    "password",
    "password_noscheme",
    "proxy",
    "proxy_always",
    "proxy_maybe",
    "user",
    "userdb_chroot",
    "userdb_domain",
    "userdb_gid",
    "userdb_home",
    "userdb_mail_driver",
    "userdb_mail_inbox_path",
    "userdb_mail_path",
    "userdb_tempfail",
    "userdb_uid",
    "userdb_uidgid_file",
    "userdb_user",
    "userdb_userdb_import",
    "userdb_username",
    "username",
];

/// The extra fields of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// One list for each `allow_nets`. The client's address must be in every list.
    allow: Vec<Vec<Network>>,
    /// Whether `nologin` is set.
    no_login: bool,
    /// The value of `userdb_mail`, as it is written.
    mail: Option<String>,
}

impl Extra {
    /// Parses fields that are separated by spaces. `Err` says what was expected.
    ///
    /// A field that protects the account and cannot be parsed is an error. Ignoring it would remove
    /// the protection.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut extra = Self::default();
        for field in text.split(|byte| *byte == b' ') {
            let mut parts = field.splitn(2, |byte| *byte == b'=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next());
            // A name that is not UTF-8 is none of the known names.
            let name = std::str::from_utf8(name).unwrap_or_default();
            // In Dovecot, `NAME:protected` and `NAME:remove` change the field's meaning.
            let (name, how) = name.split_once(':').unwrap_or((name, ""));
            match name {
                "allow_nets" | "nologin" | "userdb_mail" if !how.is_empty() => {
                    return Err(format!("expected {name} without :{how}"));
                }
                "allow_nets" => {
                    let networks = networks(value.unwrap_or_default());
                    let expected = "expected addresses or networks after allow_nets=, such as 192.0.2.0/24,2001:db8::/32";
                    extra.allow.push(networks.ok_or(expected)?);
                }
                "nologin" => extra.no_login = true,
                "userdb_mail" => {
                    let value = value.and_then(|value| String::from_utf8(value.to_vec()).ok());
                    extra.mail = Some(value.ok_or("expected a location after userdb_mail=")?);
                }
                name if REFUSED_FIELDS.contains(&name) => {
                    return Err(format!("expected no {name}, which is not kept here"));
                }
                _ => {}
            }
        }
        Ok(extra)
    }

    /// Whether the user may log in from `peer`. `Err` says why not, for the log.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<(), &'static str> {
        let allowed =
            |networks: &Vec<Network>| networks.iter().any(|network| network.contains(peer));
        if self.no_login {
            Err("nologin")
        } else if !self.allow.iter().all(allowed) {
            Err("not from an address of allow_nets")
        } else {
            Ok(())
        }
    }

    /// The spool that `userdb_mail` names for this account. `None` if the line has no such field.
    /// `Err` says what was expected.
    pub(super) fn spool(&self, account: &Account) -> Result<Option<AbsolutePath>, &'static str> {
        let Some(mail) = &self.mail else {
            return Ok(None);
        };
        let expected =
            "expected mbox:DIRECTORY:INBOX=FILE after userdb_mail=, with ~/, %u, %n, %d or %h";
        let mut parts = mail.strip_prefix("mbox:").ok_or(expected)?.split(':');
        let root = parts.next().unwrap_or_default();
        let path = match parts.find_map(|part| part.strip_prefix("INBOX=")) {
            Some(inbox) => expand(inbox, account),
            // Without INBOX=, Dovecot uses this file.
            None => expand(root, account).map(|root| root + "/inbox"),
        };
        let path = path.and_then(|path| AbsolutePath::try_from(path).ok());
        path.map(Some).ok_or(expected)
    }
}

/// The networks of an `allow_nets` value. `None` if one cannot be parsed, or if there are too many.
fn networks(value: &[u8]) -> Option<Vec<Network>> {
    let networks = std::str::from_utf8(value).ok()?.split(',');
    // `local` means Dovecot's own Unix sockets. No popward client uses one.
    let networks = networks.filter(|network| *network != "local");
    let networks: Vec<Network> = networks
        .map(|network| network.parse().ok())
        .collect::<Option<_>>()?;
    (networks.len() <= NETWORKS_MAX).then_some(networks)
}

/// `path` with Dovecot's variables replaced. `None` if a variable is unknown or has no value.
fn expand(path: &str, account: &Account) -> Option<String> {
    let home = || {
        let home = String::from(account.home.clone()?);
        Some(home.trim_end_matches('/').to_owned())
    };
    let name = account.name.as_str();
    let mut out = String::new();
    let mut rest = path;
    if let Some(under) = path.strip_prefix("~/") {
        out = home()? + "/";
        rest = under;
    }
    while let Some((before, variable)) = rest.split_once('%') {
        out += before;
        let (letter, after) = variable.split_at_checked(1)?;
        let value = match letter {
            "u" => name.to_owned(),
            "n" => name.split('@').next()?.to_owned(),
            "d" => name.split_once('@')?.1.to_owned(),
            "h" => home()?,
            "%" => "%".to_owned(),
            _ => return None,
        };
        out += &value;
        rest = after;
    }
    Some(out + rest)
}
