//! Dovecot's settings, as `doveconf -n` prints them: 2.3's and 2.4's.

mod settings;
mod syntax;

use super::draft::{Draft, Mistake, list, quoted};
use settings::{LEFT_OUT, OTHER_PROTOCOLS, SAME};
use syntax::{Setting, parse};

/// What is known of Dovecot's listeners.
#[derive(Default)]
struct Listeners {
    /// `listen`: addresses.
    addresses: Vec<String>,
    /// The ports of `pop3` and `pop3s`. 0: closed.
    plain: Option<u16>,
    tls: Option<u16>,
    /// Whether a PROXY header comes first.
    plain_proxy: bool,
    tls_proxy: bool,
}

/// Makes popward.toml of the output of `doveconf -n`.
pub(super) fn import(text: &str) -> Result<Draft, Mistake> {
    let settings = parse(text)?;
    let mut draft = Draft::default();
    let mut listeners = Listeners::default();
    for setting in &settings {
        one(setting, &mut draft, &mut listeners);
    }
    if !draft.has(("spool", "path")) {
        draft.remind("Set spool.path: no mail_location with an mbox INBOX was found.");
    }
    uidls(&settings, &mut draft);
    let by = draft.has(("auth", "source"));
    if !by {
        draft.remind("Set auth.source: no passdb was found.");
    }
    if !draft.has_certificate() {
        draft.remind("Name certificate and key. doveconf shows ssl_key with -P only.");
    }
    let offers_tls = draft.has_certificate();
    listen(&listeners, offers_tls, &mut draft);
    Ok(draft)
}

fn listen(listeners: &Listeners, offers_tls: bool, draft: &mut Draft) {
    let everywhere = vec!["[::]".to_owned()];
    let addresses = match &listeners.addresses[..] {
        [] => &everywhere,
        addresses => addresses,
    };
    for address in addresses {
        let (plain, tls) = (listeners.plain.unwrap_or(110), listeners.tls.unwrap_or(995));
        if plain != 0 {
            draft.listen(format!("{address}:{plain}"), false, listeners.plain_proxy);
        }
        if tls != 0 && offers_tls {
            draft.listen(format!("{address}:{tls}"), true, listeners.tls_proxy);
        }
    }
}

/// Sets `adopt.from`. A message's X-UIDL comes before the format.
fn uidls(settings: &[Setting], draft: &mut Draft) {
    let of = |name: &str| settings.iter().rfind(|setting| setting.name == name);
    let (format, reuse) = (of("pop3_uidl_format"), of("pop3_reuse_xuidl"));
    let reuse = reuse.filter(|setting| setting.value == "yes");
    let scheme = match format.map(|setting| setting.value.as_str()) {
        None | Some("%08Xu%08Xv" | "%{uid | hex(8)}%{uidvalidity | hex(8)}") => Some("dovecot"),
        Some("%08Xv%08Xu" | "%{uidvalidity | hex(8)}%{uid | hex(8)}") => Some("uw"),
        Some("%m" | "%g" | "%{md5}" | "%{guid}") => Some("dovecot-md5"),
        Some(_) => None,
    };
    let schemes: Vec<&str> = reuse.map(|_| "x-uidl").into_iter().chain(scheme).collect();
    let default = "pop3_uidl_format is Dovecot's default, %08Xu%08Xv";
    match (format, scheme) {
        (Some(setting), None) => draft.left_out(
            &setting.line,
            "Pin the UIDLs: see \"Pins\" in docs/migration.md.",
        ),
        (Some(setting), _) => draft.set(("adopt", "from"), list(schemes.clone()), &setting.line),
        (None, _) => draft.set(("adopt", "from"), list(schemes.clone()), default),
    }
    if let Some(setting) = reuse {
        draft.set(("adopt", "from"), list(schemes), &setting.line);
    }
}

/// Puts one setting into the draft.
fn one(setting: &Setting, draft: &mut Draft, listeners: &mut Listeners) {
    let (line, value) = (setting.line.as_str(), setting.value.as_str());
    let section = setting.sections.first().map_or("", String::as_str);
    let kind = section.split(' ').next().unwrap_or("");
    match kind {
        "passdb" => return passdb(setting, draft),
        "userdb" => return userdb(setting, draft),
        "service" if section.starts_with("service pop3-login") => {
            return listener(setting, draft, listeners);
        }
        "protocol" if section == "protocol pop3" => {}
        "" => {}
        _ => return draft.left_out(line, settings::of_section(kind)),
    }
    let mut key = |table, name, toml| draft.set((table, name), toml, line);
    match setting.name.as_str() {
        "mail_location" => mail_location(value, line, draft),
        "mail_inbox_path" => inbox(value, line, draft),
        "mail_privileged_group" if !value.is_empty() => key("spool", "group", quoted(value)),
        "first_valid_uid" => number(value, ("auth", "first_uid"), line, draft),
        "last_valid_uid" => number(value, ("auth", "last_uid"), line, draft),
        "mail_max_userip_connections" => {
            number(value, ("limits", "sessions_per_user"), line, draft);
        }
        "auth_mechanisms" => mechanisms(value, line, draft),
        "auth_username_format" => username_format(value, line, draft),
        "auth_failure_delay" => match value.split_whitespace().next().map(str::parse::<u32>) {
            Some(Ok(seconds)) => key("auth", "failure_delay", quoted(&format!("{seconds}s"))),
            _ => draft.left_out(line, "Not a number of seconds."),
        },
        "disable_plaintext_auth" if value == "no" => key("auth", "plaintext", quoted("always")),
        "auth_allow_cleartext" if value == "yes" => key("auth", "plaintext", quoted("always")),
        "disable_plaintext_auth" | "auth_allow_cleartext" => {
            draft.same(
                line,
                "Without TLS, passwords are taken from this host only.",
            );
        }
        "ssl" if value == "required" => key("auth", "plaintext", quoted("never")),
        "ssl" => draft.same(line, "TLS is there if there is a [[certificate]]."),
        "ssl_cert" | "ssl_server_cert_file" => match file(value) {
            Some(path) => draft.chain(path, line),
            None => draft.left_out(line, "Not the path of a file."),
        },
        "ssl_key" | "ssl_server_key_file" => match file(value) {
            Some(path) => draft.key(path, line),
            None => draft.left_out(line, "Not the path of a file. doveconf shows it with -P."),
        },
        "ssl_min_protocol" => match value {
            "TLSv1.3" => key("tls", "minimum", quoted("1.3")),
            _ => draft.same(line, "TLS is 1.2 or 1.3."),
        },
        "haproxy_trusted_networks" => {
            key(
                "proxy",
                "networks",
                list(value.split([' ', ',']).filter(|one| !one.is_empty())),
            );
        }
        "login_greeting" => key("pop3", "greeting", quoted(value)),
        // See `uidls`.
        "pop3_uidl_format" => {}
        "pop3_reuse_xuidl" if value == "yes" => {}
        "listen" => {
            draft.same(line, "[[listen]] above has it.");
            listeners.addresses = addresses(value);
        }
        "protocols" if value.split_whitespace().any(|word| word == "pop3") => {
            draft.same(line, "popward speaks POP3. Dovecot may keep the others.");
        }
        name => other(name, line, draft),
    }
}

/// A setting that becomes no line.
fn other(name: &str, line: &str, draft: &mut Draft) {
    let find = |all: &[(&[&str], &'static str)]| {
        let found = all.iter().find(|(names, _)| names.contains(&name));
        found.map(|(_, why)| *why)
    };
    if let Some(why) = find(SAME) {
        return draft.same(line, why);
    }
    let of_others = OTHER_PROTOCOLS.iter().any(|start| name.starts_with(start));
    draft.left_out(
        line,
        match find(LEFT_OUT) {
            Some(why) => why,
            None if of_others => "Not of POP3.",
            None => "popward has no such setting.",
        },
    );
}

/// The addresses of `listen`, as TOML has them before a port.
fn addresses(value: &str) -> Vec<String> {
    let all = value.split([' ', ',']).filter(|one| !one.is_empty());
    let all: Vec<&str> = all.collect();
    // The IPv6 address stands for both kinds.
    if all.contains(&"::") {
        return vec!["[::]".to_owned()];
    }
    let one = |address: &&str| match *address {
        "*" => "0.0.0.0".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    all.iter().map(one).collect()
}

/// `inet_listener` of `service pop3-login`.
fn listener(setting: &Setting, draft: &mut Draft, listeners: &mut Listeners) {
    let (line, value) = (setting.line.as_str(), setting.value.as_str());
    let name = setting.sections.get(1).map_or("", String::as_str);
    let (port, proxy) = match name {
        "inet_listener pop3" => (&mut listeners.plain, &mut listeners.plain_proxy),
        "inet_listener pop3s" => (&mut listeners.tls, &mut listeners.tls_proxy),
        _ => {
            return draft.left_out(
                line,
                "limits.connections and server.fronts bound the processes.",
            );
        }
    };
    match (setting.name.as_str(), value) {
        ("port", number) if number.parse::<u16>().is_ok() => *port = number.parse().ok(),
        ("haproxy", "yes") => *proxy = true,
        ("ssl" | "haproxy", _) => {}
        ("address", _) => return draft.left_out(line, "Write the address into [[listen]]."),
        _ => return draft.left_out(line, "popward has no such setting of a listener."),
    }
    draft.same(line, "[[listen]] above has it.");
}

fn passdb(setting: &Setting, draft: &mut Draft) {
    let (line, value) = (setting.line.as_str(), setting.value.as_str());
    // 2.4 has the driver in the section's name.
    let named = setting.sections[0].strip_prefix("passdb ").unwrap_or("");
    let driver = if setting.name == "driver" {
        value
    } else {
        named
    };
    let source = ("auth", "source");
    match driver {
        "pam" | "shadow" | "passwd" | "bsdauth" if !draft.has(source) => {
            draft.set(source, quoted("pam"), line);
            let why = "On Debian pam_unix must be able to read /etc/shadow";
            draft.set(("accounts", "pam_group"), quoted("shadow"), why);
        }
        "passwd-file" if !draft.has(source) => {
            draft.set(source, quoted("passwd-file"), line);
            let what =
                "Root must own the password file, with the group of auth: see docs/operation.md.";
            draft.remind(what);
        }
        "checkpassword" if !draft.has(source) => {
            draft.set(source, quoted("checkpassword"), line);
            draft.remind("Set auth.checkpassword: see \"Programs\" in docs/operation.md.");
        }
        "" => {}
        _ if setting.name == "driver" && draft.has(source) => {
            return draft.left_out(line, "One auth.source serves all users.");
        }
        _ if setting.name == "driver" => {
            return draft.left_out(line, "Reach it by PAM or by a checkpassword program.");
        }
        _ => {}
    }
    if setting.name == "driver" {
        return;
    }
    // The path is the last word behind options such as scheme=CRYPT.
    let path = value.split_whitespace().last().unwrap_or("");
    match setting.name.as_str() {
        "args" | "passwd_file_path" if path.starts_with('/') => {
            draft.set(("auth", "passwd_file"), quoted(path), line);
        }
        _ => draft.left_out(
            line,
            "The PAM service is popward; see docs/operation.md for the rest.",
        ),
    }
}

fn userdb(setting: &Setting, draft: &mut Draft) {
    let (line, value) = (setting.line.as_str(), setting.value.as_str());
    match (setting.name.as_str(), value) {
        ("driver", "passwd" | "passwd-file") | ("args" | "passwd_file_path", _) => {
            draft.same(
                line,
                "A user of the password file has ids there, or is a user of the system.",
            );
        }
        _ => draft.left_out(
            line,
            "Users come from auth.source, and their ids from it or the system.",
        ),
    }
}

/// `mbox:~/mail:INBOX=/var/mail/%u`.
fn mail_location(value: &str, line: &str, draft: &mut Draft) {
    let mut parts = value.split(':');
    if parts.next() != Some("mbox") {
        return draft.left_out(
            line,
            "popward reads mbox spools. Dovecot has the other formats.",
        );
    }
    let root = parts.next().unwrap_or("");
    let own = parts.find_map(|part| part.strip_prefix("INBOX="));
    match own {
        Some(path) => inbox(path, line, draft),
        // Dovecot's INBOX then lies in the directory of the other mailboxes.
        None => inbox(
            &format!("{}/inbox", root.trim_end_matches('/')),
            line,
            draft,
        ),
    }
}

/// The path of INBOX, with Dovecot's variables.
fn inbox(path: &str, line: &str, draft: &mut Draft) {
    match pattern(path) {
        Some(pattern) => draft.set(("spool", "path"), quoted(&pattern), line),
        None => draft.left_out(
            line,
            "Set spool.path: popward has no equal of a variable in it.",
        ),
    }
}

/// A path with popward's placeholders. `None`: there is no equal.
fn pattern(path: &str) -> Option<String> {
    const VARIABLES: [(&str, &str); 14] = [
        ("%{user | username}", "{name}"),
        ("%{user | domain}", "{domain}"),
        ("%{user|username}", "{name}"),
        ("%{user|domain}", "{domain}"),
        ("%{user}", "{user}"),
        ("%{username}", "{name}"),
        ("%{domain}", "{domain}"),
        ("%{home}", "{home}"),
        ("%1.1u", "{user:1}"),
        ("%1u", "{user:1}"),
        ("%u", "{user}"),
        ("%n", "{name}"),
        ("%d", "{domain}"),
        ("%h", "{home}"),
    ];
    let mut path = path.to_owned();
    if let Some(rest) = path.strip_prefix("~/") {
        path = format!("{{home}}/{rest}");
    }
    for (variable, placeholder) in VARIABLES {
        path = path.replace(variable, placeholder);
    }
    let whole = path.starts_with('/') || path.starts_with("{home}/");
    (whole && !path.contains('%')).then_some(path)
}

fn number(value: &str, key: (&'static str, &'static str), line: &str, draft: &mut Draft) {
    match value.parse::<u32>() {
        Ok(number @ 1..) => draft.set(key, number.to_string(), line),
        _ => draft.left_out(
            line,
            "popward's default holds: there is no value for \"unlimited\".",
        ),
    }
}

fn mechanisms(value: &str, line: &str, draft: &mut Draft) {
    const KNOWN: [&str; 9] = [
        "plain",
        "login",
        "apop",
        "cram-md5",
        "scram-sha-1",
        "scram-sha-256",
        "external",
        "oauthbearer",
        "xoauth2",
    ];
    let asked: Vec<String> = value
        .split_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) = asked
        .iter()
        .map(String::as_str)
        .partition(|name| KNOWN.contains(name));
    // Dovecot takes USER wherever it takes PLAIN.
    let user = known.contains(&"plain").then_some("user");
    draft.set(
        ("auth", "mechanisms"),
        list(user.into_iter().chain(known)),
        line,
    );
    if !unknown.is_empty() {
        let names = unknown.join(" ");
        draft.left_out(
            &format!("auth_mechanisms: {names}"),
            "popward has no such mechanism.",
        );
    }
}

fn username_format(value: &str, line: &str, draft: &mut Draft) {
    let lower = value.contains("lower") || value.contains("%L");
    let trims = value.contains("username") || value.ends_with('n');
    if lower {
        draft.set(("auth", "lower_case"), "true".to_owned(), line);
    }
    if trims {
        draft.set(("auth", "trim_domain"), list(["*"]), line);
    }
    if !lower && !trims {
        draft.same(line, "Names stay as they are.");
    }
}

/// The path of `</path`, or of 2.4's plain path.
fn file(value: &str) -> Option<&str> {
    let path = value.trim_start_matches('<').trim();
    path.starts_with('/').then_some(path)
}
