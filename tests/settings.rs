//! `[[account]]`: settings for some users and groups, from the configuration alone.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, User, assert_ok, root, skipped, spool, until, user};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user ids of Alice, Bob and Carol.
const IDS: [u32; 3] = [64441, 64442, 64443];

/// The directory of users' own directories.
struct Outside(tempfile::TempDir);

impl Outside {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a directory of this user's, with the spool `mbox` in it.
    fn home(&self, name: &str, uid: u32, bytes: &[u8]) {
        let home = self.at(name);
        fs::create_dir(&home).unwrap();
        fs::write(home.join("mbox"), bytes).unwrap();
        for (path, mode) in [(home.join("mbox"), 0o600), (home, 0o755)] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            if root() {
                chown(&path, Some(uid), Some(uid)).unwrap();
            }
        }
    }
}

/// A spool of one message that a reader has seen.
fn seen() -> Vec<u8> {
    let text = String::from_utf8(spool(1)).unwrap();
    text.replacen("\nSubject:", "\nStatus: RO\nSubject:", 1)
        .into_bytes()
}

fn three() -> Vec<User> {
    let names = ["alice", "bob", "carol"].into_iter().zip(IDS);
    names.map(|(name, uid)| user(name, uid, &seen())).collect()
}

/// A host with these tables. In them `@` is the path of `outside`.
fn host(outside: &Outside, tables: &str) -> Option<Host> {
    if !root() {
        skipped("users of several ids: it takes root");
        return None;
    }
    let tables = tables.replace('@', outside.0.path().to_str().unwrap());
    Some(Host::with(&three(), &tables, &[]))
}

/// What CAPA says about the login delay.
fn delay(client: &mut Client) -> Option<String> {
    let capabilities = client.multi("CAPA");
    let mut lines = capabilities.lines();
    let line = lines.find(|line| line.starts_with("LOGIN-DELAY"));
    line.map(str::to_owned)
}

/// The first message's UIDL, as `popward spool` shows it.
fn uidl(host: &Host, file: &Path, scheme: &str) -> String {
    let output = Command::new(host.at("libexec/popward"))
        .args(["spool", "--json", "--uidl", scheme])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once("\"uidl\":\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// The number of the first line of a file with `text` in it, from 1.
fn line_of(file: &Path, text: &str) -> usize {
    let all = fs::read_to_string(file).unwrap();
    all.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn an_account_has_its_tables_settings_and_the_general_ones_for_the_rest() {
    let outside = Outside::new();
    outside.home("alice", IDS[0], &[seen(), spool(2)].concat());
    let Some(host) = host(
        &outside,
        r#"
[[account]]
users = ["nobody-here", "alice"]
spool.path = "@/{user}/mbox"
adopt.from = ["popa3d"]
spool.hide = ["Status"]
auth.login_delay = "3600s"
[[account]]
groups = [64443]
spool.hide = ["Lines"]
"#,
    ) else {
        return;
    };
    let (own, shared) = (outside.at("alice/mbox"), host.spool("alice"));
    let before = fs::read(&shared).unwrap();
    for (name, messages, spool, scheme, hidden, delay_s) in [
        ("alice", 3, &own, "popa3d", true, Some("LOGIN-DELAY 3600")),
        ("bob", 1, &host.spool("bob"), "native", true, None),
        ("carol", 1, &host.spool("carol"), "native", false, None),
    ] {
        let mut client = host.connect();
        let before = delay(&mut client);
        assert_eq!(before.as_deref(), Some("LOGIN-DELAY 3600 USER"));
        assert_ok(&client.ask(&format!("USER {name}")));
        assert_ok(&client.ask(&format!("PASS {name}")));
        assert_eq!(delay(&mut client).as_deref(), delay_s, "{name}");
        let listed = client.multi("UIDL");
        assert_eq!(listed.lines().count(), messages, "{name}: {listed}");
        let first = format!("1 {}", uidl(&host, spool, scheme));
        assert_eq!(listed.lines().next(), Some(first.as_str()), "{name}");
        let text = client.multi("RETR 1");
        assert_eq!(!text.contains("\nStatus: RO\n"), hidden, "{name}: {text}");
        let dotlock = spool.with_file_name(format!(
            "{}.lock",
            spool.file_name().unwrap().to_str().unwrap()
        ));
        assert!(dotlock.exists(), "{name}");
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        assert!(!dotlock.exists(), "{name}: after +OK the spool is free");
    }
    assert_eq!(fs::read(&own).unwrap(), spool(2));
    assert_eq!(fs::read(&shared).unwrap(), before, "nobody's");
    assert_eq!(host.bytes("bob"), b"");
    assert!(
        host.answer("alice", "alice")
            .starts_with("-ERR [LOGIN-DELAY]")
    );
    assert_ok(&host.answer("bob", "bob"));
}

#[test]
fn a_table_for_a_named_group_sets_limits_for_its_members_only() {
    let Ok(Some(games)) = nix::unistd::Group::from_name("games") else {
        return skipped("there is no group games");
    };
    let tables = r#"
[[account]]
groups = ["games"]
limits.sessions_per_user = 1
spool.lock_timeout = "50s"
"#;
    let Some(host) = host(&Outside::new(), tables) else {
        return;
    };
    // The password file now puts Carol into the group.
    let users = fs::read_to_string(host.at("users")).unwrap();
    let before = format!(":{0}:{0}:", IDS[2]);
    assert!(users.contains(&before));
    let after = format!(":{}:{}:", IDS[2], games.gid);
    fs::write(host.at("users"), users.replace(&before, &after)).unwrap();
    let held = |name: &str| {
        let lock = host.at("mail").join(format!("{name}.lock"));
        fs::write(&lock, "1:elsewhere").unwrap();
        lock
    };
    let (carols, _bobs) = (held("carol"), held("bob"));
    let mut carol = host.connect();
    assert_ok(&carol.ask("USER carol"));
    carol.send(b"PASS carol\r\n");
    until("she waits for the lock", || {
        host.children("popward-worker").len() == 1
    });
    assert!(host.answer("carol", "carol").starts_with("-ERR [IN-USE]"));
    host.logged("as many sessions as a user may have");
    // Everybody else waits 2 s. Bob began later than Carol, and hears it first.
    assert!(host.answer("bob", "bob").starts_with("-ERR [IN-USE]"));
    fs::remove_file(carols).unwrap();
    assert_ok(&carol.line());
}

#[test]
fn a_reload_takes_tables_as_a_whole_or_not_at_all() {
    let outside = Outside::new();
    outside.home("alice", IDS[0], &spool(3));
    let table = "[[account]]\nusers = [\"alice\"]\nspool.path = \"@/{user}/mbox\"\nauth.login_delay = \"3600s\"\n";
    let Some(host) = host(&outside, "") else {
        return;
    };
    let file = host.at("popward.toml");
    let plain = fs::read_to_string(&file).unwrap();
    let first = |name: &str| host.login(name).ask("STAT");
    assert!(first("alice").starts_with("+OK 1 "));
    until("she is gone", || host.children("popward-worker").is_empty());
    let table = table.replace('@', outside.0.path().to_str().unwrap());
    fs::write(&file, format!("{plain}{table}")).unwrap();
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    assert!(first("alice").starts_with("+OK 3 "));
    let too_soon = || {
        host.answer("alice", "alice")
            .starts_with("-ERR [LOGIN-DELAY]")
    };
    until("auth knows as well", too_soon);
    let bad = format!("{plain}[[account]]\ngroups = [\"no-such-group-here\"]\n");
    fs::write(&file, bad).unwrap();
    host.signal(Signal::SIGHUP);
    let line = line_of(&file, "no-such-group-here");
    let said = host.logged("configuration not reloaded");
    let expected = format!("popward.toml:{line}: account.groups: expected a group of this system");
    assert!(said.contains(&expected), "{said}");
    assert!(too_soon());
    // Without the table she has everybody's settings again, also in auth.
    fs::write(&file, plain).unwrap();
    host.signal(Signal::SIGHUP);
    host.logged_times("configuration reloaded", 2);
    until("auth knows as well", || {
        host.answer("alice", "alice").starts_with("+OK")
    });
    assert!(first("alice").starts_with("+OK 1 "));
}

#[test]
fn p3_an_update_is_finished_where_it_began_despite_a_reload() {
    let outside = Outside::new();
    outside.home("alice", IDS[0], &spool(3));
    let Some(host) = host(&outside, "") else {
        return;
    };
    let body = format!("{}\n", "x".repeat(70)).repeat(1500);
    let messages: Vec<String> = (1..=300).map(|n| host::message(n, &body)).collect();
    let old = messages.concat();
    let new = [&messages[..1], &messages[2..]].concat().concat();
    let (file, journal) = (host.at("popward.toml"), host.at("state/alice/journal"));
    let plain = fs::read_to_string(&file).unwrap();
    let table = "[[account]]\nusers = [\"alice\"]\nspool.path = \"@/{user}/mbox\"\n";
    let table = table.replace('@', outside.0.path().to_str().unwrap());
    let moved = format!("{plain}{table}");
    let mut reloads = 0;
    let mut reload = |text: &str| {
        fs::write(&file, text).unwrap();
        host.signal(Signal::SIGHUP);
        reloads += 1;
        host.logged_times("configuration reloaded", reloads);
    };
    for _ in 0..20 {
        fs::write(host.spool("alice"), &old).unwrap();
        let mut client = host.login("alice");
        assert_ok(&client.ask("DELE 2"));
        reload(&moved);
        client.send(b"QUIT\r\n");
        host::at_once("the update begins", || {
            journal.exists() || host::length(&host.spool("alice")) == new.len()
        });
        for worker in host.children("popward-worker") {
            let worker = nix::unistd::Pid::from_raw(worker);
            // The worker may have ended already.
            let _ = nix::sys::signal::kill(worker, Signal::SIGKILL);
        }
        assert_ok(&client.line());
        assert!(host.bytes("alice") == new.as_bytes());
        assert!(!host.spool("alice.lock").exists() && !journal.exists());
        assert_eq!(fs::read(outside.at("alice/mbox")).unwrap(), spool(3));
        if host.log().contains("finished an update") {
            return;
        }
        reload(&plain);
    }
    panic!("never killed in an update");
}

#[test]
fn p3_what_a_crash_left_is_found_at_the_path_of_an_accounts_table() {
    let outside = Outside::new();
    outside.home("alice", IDS[0], &spool(3));
    outside.home("carol", IDS[2], &spool(3));
    let tables =
        "[[account]]\nusers = [\"alice\"]\ngroups = [64443]\nspool.path = \"@/{user}/mbox\"\n";
    let Some(mut host) = host(&outside, tables) else {
        return;
    };
    let locks = ["alice", "carol"].map(|name| outside.at(name).join("mbox.lock"));
    for (name, lock) in ["alice", "carol"].iter().zip(&locks) {
        let _client = host.login(name);
        // Neither the worker nor the monitor can clean up.
        host.signal(Signal::SIGSTOP);
        let worker = nix::unistd::Pid::from_raw(host.children("popward-worker")[0]);
        nix::sys::signal::kill(worker, Signal::SIGKILL).unwrap();
        host.signal(Signal::SIGKILL);
        assert!(lock.exists(), "{name}");
        host.start_again();
        until("the dotlock goes", || !lock.exists());
    }
}
