//! The extra fields of a line that mean something here: `allow_nets`, `nologin`, `userdb_mail`. Others are Dovecot's own.

use popward_proto::account::Account;
use popward_proto::bounded::AbsolutePath;
use popward_proto::network::Network;
use std::net::IpAddr;

/// Most networks of one user.
const NETWORKS_MAX: usize = 64;

/// What a line says beyond who the user is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// `None`: from everywhere.
    allow: Option<Vec<Network>>,
    no_login: bool,
    /// `userdb_mail`, as written.
    mail: Option<String>,
}

impl Extra {
    /// Reads fields that are separated by spaces. What protects an account and cannot be read is an error, not nothing.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let mut extra = Self::default();
        for field in text.split(|byte| *byte == b' ') {
            let mut parts = field.splitn(2, |byte| *byte == b'=');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next());
            match name {
                b"allow_nets" => {
                    let networks = networks(value.unwrap_or_default());
                    let expected = "expected addresses or networks after allow_nets=, such as 192.0.2.0/24,2001:db8::/32";
                    // Said twice, both count.
                    let before = extra.allow.take().unwrap_or_default();
                    extra.allow = Some([before, networks.ok_or(expected)?].concat());
                }
                b"nologin" => extra.no_login = true,
                b"userdb_mail" => {
                    let value = value.and_then(|value| String::from_utf8(value.to_vec()).ok());
                    extra.mail = Some(value.ok_or("expected a location after userdb_mail=")?);
                }
                _ => {}
            }
        }
        Ok(extra)
    }

    /// Whether the user may log in from `peer`, and why not.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<(), &'static str> {
        let allowed =
            |networks: &Vec<Network>| networks.iter().any(|network| network.contains(peer));
        if self.no_login {
            Err("nologin")
        } else if !self.allow.as_ref().is_none_or(allowed) {
            Err("not from an address of allow_nets")
        } else {
            Ok(())
        }
    }

    /// The spool that `userdb_mail` names for this account.
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
            // Where Dovecot looks for it then.
            None => expand(root, account).map(|root| root + "/inbox"),
        };
        let path = path.and_then(|path| AbsolutePath::try_from(path).ok());
        path.map(Some).ok_or(expected)
    }
}

fn networks(value: &[u8]) -> Option<Vec<Network>> {
    let networks = std::str::from_utf8(value).ok()?.split(',');
    // Dovecot's word for its own sockets, by which nobody comes here.
    let networks = networks.filter(|network| *network != "local");
    let networks: Vec<Network> = networks
        .map(|network| network.parse().ok())
        .collect::<Option<_>>()?;
    (networks.len() <= NETWORKS_MAX).then_some(networks)
}

/// `path` with Dovecot's variables filled in. `None` for one that is not known here, or has no value.
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
