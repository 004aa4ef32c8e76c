//! popwardctl: what it says about an account is what a login then does, and it changes nothing.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, message, root, skipped, spool, until, user};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ALICE: u32 = 64401;

/// What popwardctl does with these words.
fn ctl(host: &Host, words: &[&str]) -> Output {
    let mut command = Command::new(host.at("libexec/popwardctl"));
    command.args(words).output().unwrap()
}

/// What `popwardctl user` says with this option.
fn looked(host: &Host, name: &str, option: &[&str]) -> (i32, String) {
    let config = host.at("popward.toml");
    let words = [
        &["user", name, "--config", config.to_str().unwrap()],
        option,
    ]
    .concat();
    let output = ctl(host, &words);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// The value of a line of the text, such as `login`.
fn value(text: &str, name: &str) -> String {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    found
        .unwrap_or_else(|| panic!("{name}: {text}"))
        .trim()
        .to_owned()
}

/// What PASS is answered.
fn answer(host: &Host) -> String {
    host.answer("alice", "alice")
}

/// The answer, up to its response code.
fn code(answer: &str) -> &str {
    let end = answer.find(']').map_or(3, |at| at + 1);
    &answer[..end]
}

/// Asks popwardctl and then the server. They must say the same. Returns what popwardctl said.
fn agreed(host: &Host, case: &str) -> String {
    let (status, text) = looked(host, "alice", &[]);
    let login = value(&text, "login");
    let answered = answer(host);
    assert_eq!(code(&login), code(&answered), "{case}: {text}{answered}");
    let opens = login.starts_with("+OK");
    assert_eq!(status, if opens { 0 } else { 3 }, "{case}: {text}");
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
    login
}

#[test]
fn an_account_is_shown_end_to_end() {
    let host = Host::start(&[user("alice", ALICE, &spool(3))]);
    let mut client = host.login("alice");
    let stat = client.ask("STAT");
    assert_ok(&client.ask("QUIT"));
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
    let (status, text) = looked(&host, "alice", &[]);
    assert_eq!(status, 0, "{text}");
    let (messages, octets) = stat.trim_start_matches("+OK ").split_once(' ').unwrap();
    let expected = format!("{messages} of {octets} octets, counted without locks");
    assert_eq!(value(&text, "messages"), expected.replace("\r\n", ""));
    assert_eq!(value(&text, "spool"), host.spool("alice").to_str().unwrap());
    assert!(value(&text, "account").starts_with("alice, uid "), "{text}");
    assert!(
        value(&text, "account").ends_with("(password file)"),
        "{text}"
    );
    assert_eq!(value(&text, "journal"), "none");
    assert_eq!(value(&text, "login"), "+OK: 3 messages");
    let (status, json) = looked(&host, "alice", &["--json"]);
    assert_eq!(status, 0, "{json}");
    for part in [
        "\"login\":{\"answer\":\"+OK\",\"because\":\"3 messages\"}",
        "\"content\":{\"mail\":{\"messages\":3,",
        "\"locks\":[]",
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
}

#[test]
fn what_it_says_of_a_login_is_what_a_login_hears() {
    let host = Host::with(
        &[user("alice", ALICE, &spool(3))],
        "",
        &[("lock_timeout = \"2s\"", "lock_timeout = \"0s\"")],
    );
    let mail = host.spool("alice");
    let owner = fs::metadata(&mail).unwrap();
    let mend = || {
        fs::write(&mail, spool(3)).unwrap();
        chown(&mail, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&mail, PermissionsExt::from_mode(0o600)).unwrap();
    };
    assert_eq!(agreed(&host, "mail"), "+OK: 3 messages");
    fs::remove_file(&mail).unwrap();
    agreed(&host, "no spool");
    mend();
    let lock = host.spool("alice.lock");
    fs::write(&lock, "4711:elsewhere").unwrap();
    let said = agreed(&host, "a dotlock of another host");
    assert!(said.contains("host elsewhere"), "{said}");
    let own = std::process::id();
    fs::write(&lock, format!("{own}\n")).unwrap();
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    let said = agreed(&host, "a dotlock of this process");
    assert!(said.contains(name.trim_end()), "{said}");
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let ended = format!("4194305:{}", host_name.trim_end());
    fs::write(&lock, "4194305\n").unwrap();
    agreed(&host, "a dotlock of a dead process of some host");
    if root() {
        fs::write(&lock, &ended).unwrap();
        agreed(&host, "another user's dotlock of a dead process");
        fs::remove_file(&lock).unwrap();
    }
    fs::write(&lock, &ended).unwrap();
    chown(&lock, Some(owner.uid()), Some(owner.gid())).unwrap();
    assert_eq!(
        agreed(&host, "this user's dotlock of a dead process"),
        "+OK: 3 messages"
    );
    until("the login has removed it", || !lock.exists());
    fs::write(&mail, "no mail\n").unwrap();
    agreed(&host, "no mbox");
    fs::write(&mail, b"From x\rno line end").unwrap();
    agreed(&host, "bare returns");
    fs::remove_file(&mail).unwrap();
    fs::create_dir(&mail).unwrap();
    agreed(&host, "a directory");
    fs::remove_dir(&mail).unwrap();
    symlink("/etc/passwd", &mail).unwrap();
    agreed(&host, "a link");
    fs::remove_file(&mail).unwrap();
    mend();
    let other = host.spool("other");
    fs::hard_link(&mail, &other).unwrap();
    agreed(&host, "two links");
    fs::remove_file(&other).unwrap();
    nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRWXU).unwrap();
    chown(&other, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::rename(&other, &mail).unwrap();
    agreed(&host, "a pipe");
    fs::remove_file(&mail).unwrap();
    mend();
    let state = host.at("state/alice");
    let pins = state.join("pins");
    fs::write(&pins, "no pins\n").unwrap();
    chown(&pins, Some(owner.uid()), Some(owner.gid())).unwrap();
    agreed(&host, "pins");
    fs::remove_file(&pins).unwrap();
    fs::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();
    agreed(&host, "a state directory that others can read");
    fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    if !root() {
        return skipped("a spool of another user: it takes root");
    }
    chown(&mail, Some(0), None).unwrap();
    agreed(&host, "somebody else's");
    chown(&mail, Some(owner.uid()), None).unwrap();
    assert_eq!(agreed(&host, "mail again"), "+OK: 3 messages");
}

#[test]
fn the_session_that_holds_the_locks_is_named() {
    let host = Host::start(&[user("alice", ALICE, &spool(2))]);
    let _client = host.login("alice");
    let (status, text) = looked(&host, "alice", &[]);
    let worker = host.children("popward-worker")[0];
    assert_eq!(status, 3, "{text}");
    let lock = value(&text, "lock");
    assert!(
        lock.starts_with("dotlock: session ") && lock.contains(" of popward"),
        "{text}"
    );
    assert!(lock.contains(&format!("process {worker},")), "{text}");
    assert!(text.contains("lock:      fcntl: "), "{text}");
    assert!(text.contains("lock:      flock: "), "{text}");
}

/// All files below a directory, with everything that a reader could change.
fn snapshot(directory: &Path) -> Vec<(PathBuf, u64, i64, i64, i64)> {
    let mut all = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let status = fs::symlink_metadata(&path).unwrap();
            let times = (
                status.atime_nsec(),
                status.mtime_nsec(),
                status.ctime_nsec(),
            );
            if status.is_dir() {
                directories.push(path.clone());
            } else {
                all.push((path, status.ino(), times.0, times.1, times.2));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn p6_a_look_changes_nothing() {
    let body = "A line of text.\n".repeat(400);
    let mail: String = (1..=400).map(|number| message(number, &body)).collect();
    let host = Host::start(&[user("alice", ALICE, mail.as_bytes())]);
    assert_ok(&host.login("alice").ask("QUIT"));
    until("the index is there", || {
        host.at("state/alice/index").exists()
    });
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
    let before = (
        snapshot(&host.at("mail")),
        snapshot(&host.at("state/alice")),
    );
    let (status, text) = looked(&host, "alice", &[]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(value(&text, "index"), "400 messages, of the spool as it is");
    let after = (
        snapshot(&host.at("mail")),
        snapshot(&host.at("state/alice")),
    );
    // Reading the index may change when it was last read. The spool's times say whether there is
    // new mail, so they stay.
    let without_atime = |all: &[(PathBuf, u64, i64, i64, i64)]| -> Vec<_> {
        let each = all
            .iter()
            .map(|file| (file.0.clone(), file.1, file.3, file.4));
        each.collect()
    };
    assert_eq!(before.0, after.0);
    assert_eq!(without_atime(&before.1), without_atime(&after.1));
    fs::write(host.spool("alice"), [mail.as_bytes(), &spool(1)].concat()).unwrap();
    let (_, text) = looked(&host, "alice", &[]);
    assert!(
        value(&text, "index").starts_with("400 messages, of the spool as it was"),
        "{text}"
    );
    let damaged = host.at("state/alice/index");
    fs::write(&damaged, "nothing").unwrap();
    let (_, text) = looked(&host, "alice", &[]);
    assert!(value(&text, "index").starts_with("damaged"), "{text}");
}

/// The user can put anything into the state directory. popwardctl runs as root.
#[test]
fn p1_links_and_pipes_of_a_user_lead_root_nowhere() {
    let host = Host::start(&[user("alice", ALICE, &spool(2))]);
    assert_ok(&host.login("alice").ask("QUIT"));
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
    let state = host.at("state/alice");
    symlink("/etc/shadow", state.join("pins")).unwrap();
    nix::unistd::mkfifo(&state.join("index"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/", state.join("journal")).unwrap();
    let (status, text) = looked(&host, "alice", &[]);
    assert_eq!(status, 3, "{text}");
    assert!(!text.contains("root:"), "{text}");
    let _ = value(&text, "pins");
}

#[test]
fn what_cannot_be_looked_at_is_an_error_with_its_own_status() {
    let host = Host::start(&[user("alice", ALICE, &spool(2))]);
    let (status, text) = looked(&host, "nobody-of-that-name", &[]);
    assert!(
        status == 1 && text.contains("no such user"),
        "{status} {text}"
    );
    let (status, _) = looked(&host, "../alice", &[]);
    assert_eq!(status, 2);
    let broken = host.at("broken.toml");
    fs::write(&broken, "[spol]\n").unwrap();
    let output = ctl(
        &host,
        &["user", "alice", "--config", broken.to_str().unwrap()],
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("broken.toml:1") && said.contains("spool"),
        "{said}"
    );
    let output = ctl(&host, &["spool", host.spool("alice").to_str().unwrap()]);
    assert!(output.status.success());
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        2
    );
    assert!(ctl(&host, &["secret", "--help"]).status.success());
    assert_eq!(ctl(&host, &["frob"]).status.code(), Some(2));
}

/// The result of an import, and what `popward --check` says of it with `changes`.
fn imported(server: &str, text: &str, changes: &[(&str, String)]) -> (String, Output) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("old"), text).unwrap();
    let output = Command::new(host::built().join("popwardctl"))
        .args(["import-config", "--from", server])
        .arg(at("old"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let made = String::from_utf8(output.stdout).unwrap();
    // This host has other certificates, users and PAM services.
    host::install(&at("libexec"));
    host::certificate(directory.path(), host::P256);
    let mut checked = made.clone();
    for (old, new) in changes {
        assert!(checked.contains(old), "{old} in {made}");
        checked = checked.replace(old, new);
    }
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    checked = checked
        .replace("CERT", cert.to_str().unwrap())
        .replace("KEY", key.to_str().unwrap());
    checked += &format!("\n[server]\nstate = \"{}\"\n", at("state").display());
    fs::create_dir(at("state")).unwrap();
    fs::write(at("popward.toml"), &checked).unwrap();
    for name in ["popward.toml", "state"] {
        let mode = if name == "state" { 0o711 } else { 0o644 };
        fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let check = Command::new(at("libexec/popward"))
        .args(["--check", "--config"])
        .arg(at("popward.toml"))
        .output()
        .unwrap();
    (made, check)
}

/// Each line with a setting is in the result, as it is or behind its sections.
fn assert_each_option_is_there(text: &str, made: &str) {
    let options = text.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.starts_with('#') && *line != "}" && !line.ends_with('{')
    });
    for option in options {
        assert!(made.contains(option), "{option:?} in {made}");
    }
}

/// This host's users stand in for the system's, and its own PAM service is not there.
fn without_pam() -> Vec<(&'static str, String)> {
    let accounts = match host::accounts() {
        none if none.is_empty() => "[accounts]\n".to_owned(),
        accounts => accounts,
    };
    let service = "source = \"pam\"\npam_service = \"other\"\n";
    vec![
        ("[accounts]\n", accounts),
        ("source = \"pam\"\n", service.to_owned()),
    ]
}

const DOVECOT: &str = r#"# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
auth_mechanisms = plain login cram-md5 gssapi
auth_username_format = %Ln
disable_plaintext_auth = no
first_valid_uid = 500
listen = 127.0.0.1
login_greeting = Ready "now".
mail_location = mbox:~/mail:INBOX=/var/mail/%u
mail_max_userip_connections = 4
mail_privileged_group = mail
mbox_write_locks = fcntl
namespace inbox {
  inbox = yes
  mailbox Drafts {
    special_use = \Drafts
  }
  prefix = 
}
passdb {
  driver = pam
}
pop3_uidl_format = %g
protocols = " imap pop3"
service pop3-login {
  inet_listener pop3 {
    port = 11110
  }
  inet_listener pop3s {
    port = 11995
    ssl = yes
  }
  process_min_avail = 4
}
ssl_cert = </etc/dovecot/private/dovecot.pem
ssl_dh = </usr/share/dovecot/dh.pem
ssl_key = </etc/dovecot/private/dovecot.key
ssl_key_password = "do not show"
userdb {
  driver = passwd
}
protocol imap {
  mail_max_userip_connections = 20
}
"#;

#[test]
fn a_dovecot_becomes_a_popward_with_every_option_accounted_for() {
    let mut changes = without_pam();
    changes.push((
        "chain = \"/etc/dovecot/private/dovecot.pem\"",
        "chain = \"CERT\"".to_owned(),
    ));
    changes.push((
        "key = \"/etc/dovecot/private/dovecot.key\"",
        "key = \"KEY\"".to_owned(),
    ));
    let (made, check) = imported("dovecot", DOVECOT, &changes);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}{made}");
    assert!(!made.contains("do not show"), "{made}");
    let shown = DOVECOT.replace("ssl_key_password = \"do not show\"\n", "");
    assert_each_option_is_there(&shown, &made);
    for line in [
        "address = \"127.0.0.1:11110\"\n",
        "address = \"127.0.0.1:11995\"\ntls = true\n",
        "path = \"/var/mail/{user}\"\n",
        "group = \"mail\"\n",
        "mechanisms = [\"user\", \"plain\", \"login\", \"cram-md5\"]\n",
        "lower_case = true\n",
        "trim_domain = [\"*\"]\n",
        "plaintext = \"always\"\n",
        "first_uid = 500\n",
        "sessions_per_user = 4\n",
        "greeting = \"Ready \\\"now\\\".\"\n",
        "from = [\"dovecot-md5\"]\n",
        "source = \"pam\"\n",
    ] {
        assert!(made.contains(&format!("\n{line}")), "{line} in {made}");
    }
}

#[test]
fn dovecots_uidls_are_kept_by_their_format() {
    for (options, expected) in [
        ("", "\nfrom = [\"dovecot\"]\n"),
        ("pop3_uidl_format = %08Xv%08Xu\n", "\nfrom = [\"uw\"]\n"),
        (
            "pop3_reuse_xuidl = yes\npop3_uidl_format = %m\n",
            "\nfrom = [\"x-uidl\", \"dovecot-md5\"]\n",
        ),
        (
            "pop3_reuse_xuidl = yes\n",
            "\nfrom = [\"x-uidl\", \"dovecot\"]\n",
        ),
        ("pop3_uidl_format = %u\n", "Pin the UIDLs"),
    ] {
        let text = format!("mail_location = mbox:~/mail:INBOX=/var/mail/%u\n{options}");
        let (made, _) = imported("dovecot", &text, &[]);
        assert!(made.contains(expected), "{options}: {made}");
        assert_each_option_is_there(&text, &made);
    }
}

/// The installed Dovecot prints its own configuration.
#[test]
fn this_hosts_dovecot_becomes_a_popward() {
    let output = Command::new("doveconf").args(["-n", "-P"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return skipped("doveconf is not installed");
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let (made, _) = imported("dovecot", &text, &[]);
    assert_each_option_is_there(&text, &made);
    assert!(made.contains("path = \"/var/mail/{user}\"\n"), "{made}");
    assert!(made.contains("from = [\"dovecot\"]\n"), "{made}");
}

const QPOPPER: &str = "# The host's Qpopper.
set spool-dir = \"/var/mail\"
set hash-spool = 2
set timeout = 120
set clear-text-password = tls
set statistics
set shy = true
set tls-support = stls
set tls-server-cert-file = /etc/mail/certs/cert.pem
set tls-private-key-file = /etc/mail/certs/key.pem
set tls-passphrase = 'not shown'
set update-on-abort = true
set announce-login-delay = 60
set trim-domain
reset downcase-user
set server-mode = true
set bulldir = /var/bulletins
set frobnicate = 3
";

#[test]
fn a_qpopper_becomes_a_popward_with_every_option_accounted_for() {
    let mut changes = without_pam();
    changes.push((
        "chain = \"/etc/mail/certs/cert.pem\"",
        "chain = \"CERT\"".to_owned(),
    ));
    changes.push((
        "key = \"/etc/mail/certs/key.pem\"",
        "key = \"KEY\"".to_owned(),
    ));
    let (made, check) = imported("qpopper", QPOPPER, &changes);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(0), "{said}{made}");
    assert!(!made.contains("'not shown'"), "{made}");
    let shown = QPOPPER.replace("set tls-passphrase = 'not shown'\n", "");
    assert_each_option_is_there(&shown, &made);
    for line in [
        "path = \"/var/mail/{user:1}/{user:2}/{user}\"\n",
        "from = [\"x-uidl\"]\n",
        "qpopper = true\n",
        "greeting = \"ready\"\n",
        "implementation = \"\"\n",
        "login_delay = \"60s\"\n",
        "trim_domain = [\"*\"]\n",
        "plaintext = \"never\"\n",
        "address = \"[::]:995\"\ntls = true\n",
    ] {
        assert!(made.contains(&format!("\n{line}")), "{line} in {made}");
    }
    assert!(!made.contains("lower_case"), "{made}");
}

#[test]
fn a_file_that_is_no_configuration_is_refused_by_its_line() {
    let directory = tempfile::tempdir().unwrap();
    for (server, text, part) in [
        ("dovecot", "ssl = no\n}\n", "old:2: expected no end"),
        (
            "dovecot",
            "service x {\n",
            "old:1: expected the end of the section",
        ),
        ("dovecot", "frob\n", "old:1: expected `NAME = VALUE`"),
        (
            "qpopper",
            "set timeout = 5\nfrob = 1\n",
            "old:2: expected `set NAME",
        ),
        (
            "qpopper",
            "set spool-dir = \"/var\n",
            "old:1: expected `set NAME",
        ),
    ] {
        let old = directory.path().join("old");
        fs::write(&old, text).unwrap();
        let output = Command::new(host::built().join("popwardctl"))
            .args(["import-config", "--from", server])
            .arg(&old)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{server} {text:?}: {said}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    }
}
