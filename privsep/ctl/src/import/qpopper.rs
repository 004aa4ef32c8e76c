//! Qpopper 4's configuration file: `set NAME = VALUE`, `set NAME` and `reset NAME`.

use super::draft::{Draft, Mistake, list, quoted};

/// What takes the place of an option, or why there is nothing.
enum Fate {
    /// A key, and its value as TOML.
    Key((&'static str, &'static str), String),
    /// Another part of this file has it.
    Elsewhere,
    /// popward does this anyway.
    Same(&'static str),
    /// popward has no equal.
    LeftOut(&'static str),
}

/// Why boolean options that are off need no line.
const OFF: &str = "It is off, and popward has no such thing.";

/// Options that only say how Qpopper works, or that popward has no equal for.
const LEFT_OUT: &[(&[&str], &str)] = &[
    (
        &[
            "bulldir",
            "max-bulletins",
            "group-bulletins",
            "bulldb-nonfatal",
            "bulldb-max-tries",
        ],
        "Deliver a bulletin as mail: see docs/migration.md.",
    ),
    (
        &["timing", "debug", "tracefile"],
        "log.level = \"info\" has times for locking and reading.",
    ),
    (
        &[
            "tls-version",
            "tls-cipher-list",
            "tls-options",
            "tls-workarounds",
        ],
        "TLS is 1.2 and 1.3, with what is safe today.",
    ),
    (
        &["tls-passphrase"],
        "Keys have no passphrase. Root alone, or a group, can read them.",
    ),
    (&["update-on-abort"], "Only QUIT deletes (RFC 1939)."),
    (
        &["auto-delete"],
        "It deletes mail that the client may not have kept.",
    ),
    (&["update-status-headers"], "Reading does not write."),
    (
        &["old-style-uid"],
        "Pin what the old server says: see docs/migration.md.",
    ),
    (
        &["announce-expire"],
        "Nothing expires, and CAPA says EXPIRE NEVER.",
    ),
    (
        &["user-options", "spool-options"],
        "popward reads no settings that a user can write. Copy them into [[account]] tables.",
    ),
    (
        &["kerberos", "kerberos-service"],
        "Kerberos 5 goes through PAM.",
    ),
    (&["drac-host"], "Use SMTP AUTH instead of POP before SMTP."),
    (&["mail-command"], "popward does not send mail."),
    (
        &["config-file"],
        "Import that file too: its options are not in this result.",
    ),
    (
        &["check-hash-dir"],
        "popward makes no directories: make them before the first login.",
    ),
    (
        &["reverse-lookup"],
        "popward does not look up names of hosts.",
    ),
    (
        &["log-facility"],
        "log.to = \"syslog\" has the facility mail.",
    ),
];

/// Options that popward needs no line for.
const SAME: &[(&[&str], &str)] = &[
    (
        &[
            "server-mode",
            "group-server-mode",
            "group-no-server-mode",
            "fast-update",
            "cache-dir",
            "cache-name",
            "temp-dir",
            "temp-name",
            "check-old-spool-loc",
            "keep-temp-drop",
            "chunky-writes",
        ],
        "popward makes no copy: the spool stays in place, and a session holds every lock.",
    ),
    (
        &["no-atomic-open", "mail-lock-check"],
        "Dotlocks are made by link(2), and touched every 30 s at the latest.",
    ),
    (
        &["uw-kluge", "uw-kludge"],
        "c-client's message is hidden, and kept.",
    ),
    (
        &["check-password-expired"],
        "PAM's account step refuses expired passwords.",
    ),
];

/// Makes popward.toml of a configuration file.
pub(super) fn import(text: &str) -> Result<Draft, Mistake> {
    let mut draft = Draft::default();
    let mut place = Place::default();
    let mut tls = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = parse(line).ok_or_else(|| {
            let expected = "expected `set NAME = VALUE` or `reset NAME`, as in Qpopper's file";
            (index + 1, expected.to_owned())
        })?;
        if name == "tls-support" {
            tls = value.to_ascii_lowercase();
        }
        match fate(&name, &value, &mut place, &mut draft, line) {
            Fate::Key(key, toml) => draft.set(key, toml, line),
            Fate::Elsewhere => {}
            Fate::Same(why) => draft.same(line, why),
            Fate::LeftOut(why) => draft.left_out(line, why),
        }
    }
    let spool = place.spool();
    draft.set(("spool", "path"), quoted(&spool), &place.options.join(", "));
    let adopt = "Qpopper's UIDLs are the X-UIDL headers in the spools";
    draft.set(("adopt", "from"), list(["x-uidl"]), adopt);
    let (by_shadow, group) = ("Qpopper asked the system for passwords", "shadow");
    draft.set(("auth", "source"), quoted("pam"), by_shadow);
    draft.set(
        ("accounts", "pam_group"),
        quoted(group),
        "pam_unix must read /etc/shadow",
    );
    draft.remind("If users had APOP passwords (popauth), read \"Accounts\" in docs/migration.md.");
    draft.remind("There must be no .USER.pop file with mail beside the spools.");
    if tls != "alternate-port" {
        draft.listen("[::]:110".to_owned(), false, false);
    }
    if draft.has_certificate() {
        draft.listen("[::]:995".to_owned(), true, false);
    } else if !tls.is_empty() && !["default", "none", "0"].contains(&&*tls) {
        draft.remind("Name the certificate: Qpopper's default is /etc/mail/certs/identity.crt.");
    }
    Ok(draft)
}

/// Parses a line. The value of `set NAME` is `true`, and that of `reset NAME` is `false`.
fn parse(line: &str) -> Option<(String, String)> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let (name, value) = match (word.to_ascii_lowercase().as_str(), rest.split_once('=')) {
        ("set", Some((name, value))) => (name, unquoted(value.trim())?),
        ("set", None) => (rest, "true".to_owned()),
        ("reset", None) => (rest, "false".to_owned()),
        _ => return None,
    };
    let name = name.trim().to_ascii_lowercase();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, value))
}

/// A value without its quotes, and without a comment behind it.
fn unquoted(value: &str) -> Option<String> {
    let first = value.chars().next()?;
    if ['"', '\'', '`'].contains(&first) {
        let (inside, _) = value[1..].split_once(first)?;
        return Some(inside.to_owned());
    }
    let end = value.find(" #").unwrap_or(value.len());
    Some(value[..end].trim().to_owned())
}

/// Where spools are, by several options.
#[derive(Default)]
struct Place {
    directory: Option<String>,
    hash: u8,
    home: Option<String>,
    options: Vec<String>,
}

impl Place {
    /// The pattern of popward.
    fn spool(&mut self) -> String {
        if self.options.is_empty() {
            self.options
                .push("Qpopper's spools are in the system's directory".to_owned());
        }
        if let Some(home) = &self.home {
            return format!("{{home}}/{}", home.trim_start_matches('/'));
        }
        let directory = self.directory.as_deref().unwrap_or("/var/mail");
        let directory = directory.trim_end_matches('/');
        match self.hash {
            1 => format!("{directory}/{{user:hash}}/{{user}}"),
            2 => format!("{directory}/{{user:1}}/{{user:2}}/{{user}}"),
            _ => format!("{directory}/{{user}}"),
        }
    }
}

fn fate(name: &str, value: &str, place: &mut Place, draft: &mut Draft, line: &str) -> Fate {
    let is_on = ["true", "1"].contains(&value.to_ascii_lowercase().as_str());
    let when_on = |key, toml: &str| {
        if is_on {
            Fate::Key(key, toml.to_owned())
        } else {
            Fate::Same(OFF)
        }
    };
    match name {
        "spool-dir" | "hash-spool" | "home-dir-mail" => {
            match name {
                "spool-dir" => place.directory = Some(value.to_owned()),
                "hash-spool" => place.hash = value.parse().unwrap_or(0),
                _ => place.home = Some(value.to_owned()),
            }
            place.options.push(line.to_owned());
            Fate::Elsewhere
        }
        "shy" if is_on => {
            draft.set(("pop3", "greeting"), quoted("ready"), line);
            Fate::Key(("pop3", "implementation"), quoted(""))
        }
        "shy" => Fate::Same(OFF),
        "statistics" => when_on(("log", "qpopper"), "true"),
        "log-login" => Fate::Key(("log", "qpopper"), "true".to_owned()),
        "trim-domain" => when_on(("auth", "trim_domain"), "[\"*\"]"),
        "downcase-user" => when_on(("auth", "lower_case"), "true"),
        "auth-file" => Fate::Key(("auth", "allow_file"), quoted(value)),
        "nonauth-file" => Fate::Key(("auth", "deny_file"), quoted(value)),
        "timeout" => match value.parse::<u32>() {
            Ok(seconds @ 600..=86_400) => {
                Fate::Key(("limits", "idle"), quoted(&format!("{seconds}s")))
            }
            _ => Fate::LeftOut(
                "RFC 1939 asks for at least 10 minutes, which is limits.idle's default.",
            ),
        },
        "announce-login-delay" => match value.parse::<u32>() {
            Ok(seconds @ 1..) => Fate::Key(("auth", "login_delay"), quoted(&format!("{seconds}s"))),
            _ => Fate::Same("There is no login delay."),
        },
        "clear-text-password" => match value.to_ascii_lowercase().as_str() {
            "never" => {
                Fate::LeftOut("Passwords over TLS are safe: popward has no line that refuses them.")
            }
            "always" | "default" => Fate::Key(("auth", "plaintext"), quoted("always")),
            "local" => Fate::Key(("auth", "plaintext"), quoted("loopback")),
            _ => Fate::Key(("auth", "plaintext"), quoted("never")),
        },
        "tls-server-cert-file" => {
            draft.chain(value, line);
            Fate::Elsewhere
        }
        "tls-private-key-file" => {
            draft.key(value, line);
            Fate::Elsewhere
        }
        "tls-identity-file" => {
            draft.chain(value, line);
            draft.key(value, line);
            Fate::Elsewhere
        }
        "tls-support" => Fate::Same("[[listen]] and [[certificate]] above have it."),
        name => {
            let of = |all: &[(&[&str], &'static str)]| {
                let found = all.iter().find(|(names, _)| names.contains(&name));
                found.map(|(_, why)| *why)
            };
            let same = of(SAME).map(Fate::Same);
            same.or_else(|| of(LEFT_OUT).map(Fate::LeftOut))
                .unwrap_or(Fate::LeftOut(
                    "Not an option that popward knows of Qpopper.",
                ))
        }
    }
}
