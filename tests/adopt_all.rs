//! `popwardctl adopt`: users are adopted before their first login, whatever else happens meanwhile.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, User, assert_ok, message, root, skipped, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const ADOPT: &str = "[adopt]\nfrom = [\"popa3d\"]\n";

fn vector(name: &str) -> PathBuf {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("privsep/mbox/tests/vectors");
    vectors.join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(vector(name)).unwrap()
}

/// The UIDLs that a server answered in this session.
fn old_uidls(session: &str) -> Vec<String> {
    let text = fs::read(vector(session)).unwrap();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().skip_while(|line| *line != "C: UIDL");
    let listed = lines.skip(2).take_while(|line| !line.starts_with("S: ."));
    let uidl = |line: &str| {
        let line = line.trim_end_matches("\\r\\n");
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let uidls: Vec<String> = listed.map(uidl).collect();
    assert!(!uidls.is_empty());
    uidls
}

fn uidls(client: &mut Client) -> Vec<String> {
    let listed = client.multi("UIDL");
    let uidl = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    listed.lines().map(uidl).collect()
}

/// `popwardctl adopt` with these options.
fn command(host: &Host, options: &[&str]) -> Command {
    let mut command = Command::new(host.at("libexec/popwardctl"));
    command.arg("adopt").args(options);
    command.arg("--config").arg(host.at("popward.toml"));
    command.stdin(Stdio::null());
    command
}

fn start(host: &Host, options: &[&str]) -> Child {
    let mut command = command(host, options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> (i32, Value) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer = serde_json::from_slice(&output.stdout);
    let answer = answer.unwrap_or_else(|_| panic!("{said}"));
    (output.status.code().unwrap(), answer)
}

/// The exit status, and the JSON.
fn adopt(host: &Host, options: &[&str]) -> (i32, Value) {
    end(start(host, &[options, &["--json"]].concat()))
}

/// What has become of a user.
fn of<'v>(answer: &'v Value, name: &str) -> &'v Value {
    let users = answer["users"].as_array().unwrap();
    let found = users.iter().find(|user| user["user"] == name);
    found.unwrap_or_else(|| panic!("{name}: {answer}"))
}

fn outcome<'v>(answer: &'v Value, name: &str) -> &'v str {
    of(answer, name)["outcome"].as_str().unwrap()
}

/// The names in the state directory, without the empty directory.
fn states(host: &Host) -> Vec<String> {
    let Ok(entries) = fs::read_dir(host.at("state")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".empty").collect();
    names.sort();
    names
}

/// All files below a directory, with what a change of them would change.
fn snapshot(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let status = fs::symlink_metadata(&path).unwrap();
        let (ino, mtime, ctime) = (status.ino(), status.mtime_nsec(), status.ctime_nsec());
        found.push(format!(
            "{} {ino} {} {mtime} {ctime} {}",
            path.display(),
            status.len(),
            status.atime_nsec()
        ));
        if status.is_dir() {
            found.extend(snapshot(&path));
        }
    }
    found.sort();
    found
}

fn no_locks(host: &Host) {
    let locks = fs::read_dir(host.at("mail")).unwrap();
    let names = locks.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let locks: Vec<String> = names.filter(|name| name.ends_with(".lock")).collect();
    assert!(locks.is_empty(), "{locks:?}");
}

/// Users of popa3d, with the UIDLs that they know.
fn popa3d_users() -> Vec<(User, Vec<String>)> {
    let all = [("alice", "plain"), ("bob", "one"), ("carol", "xuidl")];
    let one = |(index, (name, spool)): (usize, &(&'static str, &str))| {
        let uid = 64411 + u32::try_from(index).unwrap();
        let old = old_uidls(&format!("popa3d/{spool}.txt"));
        (user(name, uid, &bytes(&format!("{spool}.mbox"))), old)
    };
    all.iter().enumerate().map(one).collect()
}

#[test]
fn p5_all_users_are_adopted_before_their_first_login() {
    let known = popa3d_users();
    let mut users: Vec<User> = known.iter().map(|(user, _)| user.clone()).collect();
    users.push(User {
        spool: None,
        ..user("dave", 64414, b"")
    });
    let host = Host::with(&users, ADOPT, &[]);
    let before: Vec<Vec<u8>> = known
        .iter()
        .map(|(user, _)| host.bytes(user.name))
        .collect();
    let (status, answer) = adopt(&host, &["--all", "--jobs", "2"]);
    assert_eq!(status, 0, "{answer}");
    for (user, old) in &known {
        assert_eq!(outcome(&answer, user.name), "adopted", "{answer}");
        assert_eq!(of(&answer, user.name)["kept"], old.len(), "{answer}");
        assert_eq!(of(&answer, user.name)["native"], 0, "{answer}");
    }
    assert_eq!(outcome(&answer, "dave"), "no_spool");
    assert_eq!(answer["counts"]["adopted"], 3, "{answer}");
    assert_eq!(states(&host), ["alice", "bob", "carol"]);
    no_locks(&host);
    for ((user, _), before) in known.iter().zip(before) {
        assert_eq!(host.bytes(user.name), before);
        if root() {
            let state = fs::metadata(host.at("state").join(user.name)).unwrap();
            assert_eq!((state.uid(), state.mode() & 0o7777), (user.uid, 0o700));
        }
    }
    for (user, old) in &known {
        assert_eq!(&uidls(&mut host.login(user.name)), old, "{}", user.name);
    }
    assert!(!host.log().contains("adopted session="), "no login adopts");
    // A second run finds nothing to do.
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(status, 0, "{answer}");
    assert_eq!(answer["counts"]["skipped"], 3, "{answer}");
}

/// One vector for each server.
#[test]
fn p5_each_servers_uidls_are_kept() {
    let cases = [
        ("popa3d", "popa3d", "plain.mbox"),
        ("solid-pop3d", "solid-pop3d", "plain.mbox"),
        ("tpop3d", "tpop3d", "plain.mbox"),
        ("dovecot-md5", "dovecot-pop3d-md5", "plain.mbox"),
        ("dovecot", "dovecot", "dovecot/plain.after.mbox"),
        ("uw", "uw-ipop3d", "uw-ipop3d/plain.after.mbox"),
        (
            "uw",
            "dovecot-pop3d-uw",
            "dovecot-pop3d-uw/plain.after.mbox",
        ),
    ];
    for (scheme, folder, mbox) in cases {
        let host = Host::start(&[user("alice", 64411, &bytes(mbox))]);
        let old = old_uidls(&format!("{folder}/plain.txt"));
        let (status, answer) = adopt(&host, &["--user", "alice", "--from", scheme]);
        assert_eq!(
            (status, outcome(&answer, "alice")),
            (0, "adopted"),
            "{answer}"
        );
        assert_eq!(
            of(&answer, "alice")["kept"],
            old.len(),
            "{scheme}: {answer}"
        );
        assert_eq!(uidls(&mut host.login("alice")), old, "{scheme}");
    }
    // Qpopper's X-UIDL: a message without one has popward's own.
    let mail = [
        message(1, "one").replace("Subject:", "X-UIDL: old-1\nSubject:"),
        message(2, "two"),
    ];
    let host = Host::start(&[user("alice", 64411, mail.concat().as_bytes())]);
    let (_, answer) = adopt(&host, &["--user", "alice", "--from", "x-uidl"]);
    let alice = of(&answer, "alice");
    assert_eq!(
        (&alice["kept"], &alice["native"]),
        (&1.into(), &1.into()),
        "{answer}"
    );
    assert_eq!(uidls(&mut host.login("alice"))[0], "old-1");
}

#[test]
fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let known = popa3d_users();
    let users: Vec<User> = known.iter().map(|(user, _)| user.clone()).collect();
    let host = Host::with(&users, ADOPT, &[]);
    let before = (snapshot(&host.at("mail")), snapshot(&host.at("state")));
    let (status, answer) = adopt(&host, &["--all", "--dry-run"]);
    assert_eq!(status, 0, "{answer}");
    for (user, old) in &known {
        assert_eq!(outcome(&answer, user.name), "would_adopt", "{answer}");
        assert_eq!(of(&answer, user.name)["kept"], old.len(), "{answer}");
    }
    let after = (snapshot(&host.at("mail")), snapshot(&host.at("state")));
    assert_eq!(before, after);
    // What it said is what happens.
    let (_, real) = adopt(&host, &["--all"]);
    for (user, _) in &known {
        for count in ["kept", "native"] {
            assert_eq!(of(&answer, user.name)[count], of(&real, user.name)[count]);
        }
    }
}

#[test]
fn p5_who_is_not_adopted_is_named_and_a_second_run_goes_on() {
    let known = popa3d_users();
    let users: Vec<User> = known.iter().map(|(user, _)| user.clone()).collect();
    let short = [("lock_timeout = \"2s\"", "lock_timeout = \"0s\"")];
    let host = Host::with(&users, ADOPT, &short);
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    fs::write(host.spool("bob"), "no mail\n").unwrap();
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(status, 3, "{answer}");
    for (name, part) in [("alice", "the dotlock"), ("bob", "mbox")] {
        assert_eq!(outcome(&answer, name), "failed", "{answer}");
        let why = of(&answer, name)["why"].as_str().unwrap();
        assert!(why.contains(part), "{why}");
        assert!(!host.at("state").join(name).exists(), "{name}");
    }
    assert_eq!(outcome(&answer, "carol"), "adopted");
    fs::remove_file(&lock).unwrap();
    fs::write(host.spool("bob"), bytes("one.mbox")).unwrap();
    no_locks(&host);
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(
        (status, outcome(&answer, "carol")),
        (0, "skipped"),
        "{answer}"
    );
    for (user, old) in &known {
        assert_eq!(&uidls(&mut host.login(user.name)), old, "{}", user.name);
    }
    // The lines for a terminal, and the errors of the whole command.
    let output = command(&host, &["--all"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("alice: skipped: has a state directory\n"),
        "{text}"
    );
    assert!(text.ends_with("3 skipped\n"), "{text}");
    let (status, answer) = adopt(&host, &["--user", "nobody-here"]);
    assert_eq!(
        (status, outcome(&answer, "nobody-here")),
        (3, "failed"),
        "{answer}"
    );
}

#[test]
fn p5_without_adopt_from_nobody_is_adopted() {
    let host = Host::start(&[user("alice", 64411, &spool(2))]);
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(status, 3, "{answer}");
    let why = of(&answer, "alice")["why"].as_str().unwrap();
    assert!(why.contains("adopt.from"), "{why}");
    assert!(states(&host).is_empty());
}

/// Both wait for the same locks, and both adopt. Whoever is done first gives the user the state
/// directory.
#[test]
fn p5_a_login_at_the_same_time_has_the_old_servers_uidls() {
    let spool = bytes("plain.mbox");
    let long = [("lock_timeout = \"2s\"", "lock_timeout = \"30s\"")];
    // The pauses between two tries are random, so each of the two comes first sometimes.
    for round in 0..6 {
        let host = Host::with(&[user("alice", 64411, &spool)], ADOPT, &long);
        let lock = host.spool("alice.lock");
        fs::write(&lock, "1:elsewhere").unwrap();
        let by_hand = start(&host, &["--all", "--json"]);
        until("the draft is there", || {
            host.at("state/.adopting-by-hand.alice").exists()
        });
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        client.send(b"PASS alice\r\n");
        until("the login adopts", || {
            host.children("popward-adopt").len() == 1
        });
        fs::remove_file(&lock).unwrap();
        assert_ok(&client.line());
        assert_eq!(uidls(&mut client), old_uidls("popa3d/plain.txt"), "{round}");
        assert_ok(&client.ask("QUIT"));
        let (status, answer) = end(by_hand);
        assert_eq!(status, 0, "{answer}");
        assert!(["adopted", "skipped"].contains(&outcome(&answer, "alice")));
        until("the worker ends", || {
            host.children("popward-worker").is_empty()
        });
        no_locks(&host);
        assert!(!host.at("state/.adopting-by-hand.alice").exists());
        let mut client = host.login("alice");
        assert_eq!(uidls(&mut client), old_uidls("popa3d/plain.txt"), "{round}");
    }
}

#[test]
fn a_signal_ends_it_between_two_users() {
    let known = popa3d_users();
    let users: Vec<User> = known.iter().map(|(user, _)| user.clone()).collect();
    let long = [("lock_timeout = \"2s\"", "lock_timeout = \"30s\"")];
    let host = Host::with(&users, ADOPT, &long);
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    let child = start(&host, &["--all", "--jobs", "1", "--json"]);
    until("the first one begins", || {
        host.at("state/.adopting-by-hand.alice").exists()
    });
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    // A second adoption at the same time is refused.
    let second = command(&host, &["--all"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another `popwardctl adopt`"), "{said}");
    // It has seen the signal before the first user is done: it looks several times a second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::remove_file(&lock).unwrap();
    let (status, answer) = end(child);
    assert_eq!(status, 3, "{answer}");
    assert_eq!(outcome(&answer, "alice"), "adopted", "{answer}");
    assert_eq!(answer["not_begun"], 2, "{answer}");
    no_locks(&host);
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(
        (status, &answer["counts"]["adopted"]),
        (0, &2.into()),
        "{answer}"
    );
}

/// popward-adopt waits for the lock, and finds that nobody waits for it.
#[test]
fn p5_an_adoption_whose_parent_was_killed_is_repeated() {
    let spool = bytes("plain.mbox");
    let long = [("lock_timeout = \"2s\"", "lock_timeout = \"30s\"")];
    let host = Host::with(&[user("alice", 64411, &spool)], ADOPT, &long);
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    let mut child = start(&host, &["--all", "--json"]);
    let pid = i32::try_from(child.id()).unwrap();
    until("popward-adopt runs", || !host::descendants(pid).is_empty());
    until("the draft is there", || {
        host.at("state/.adopting-by-hand.alice").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(&lock).unwrap();
    assert!(!host.at("state/alice").exists());
    let (status, answer) = adopt(&host, &["--all"]);
    assert_eq!(
        (status, outcome(&answer, "alice")),
        (0, "adopted"),
        "{answer}"
    );
    assert!(!host.at("state/.adopting-by-hand.alice").exists());
    assert_eq!(
        uidls(&mut host.login("alice")),
        old_uidls("popa3d/plain.txt")
    );
}

/// A file of passwords, and its path.
fn passwords(host: &Host, text: &str) -> String {
    let path = host.at("passwords");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The old server is another popward, which has adopted the mail of a popa3d.
#[test]
fn p5_only_who_has_the_old_servers_uidls_is_adopted_with_verify() {
    let known = popa3d_users();
    let mut users: Vec<User> = known.iter().map(|(user, _)| user.clone()).collect();
    let old = Host::with(&users, ADOPT, &[]);
    // The new host has more mail for alice, and other mail for bob.
    users[0].spool = Some([bytes("plain.mbox"), message(900, "later").into_bytes()].concat());
    users[1].spool = Some(message(700, "other").into_bytes());
    let host = Host::with(&users, ADOPT, &[]);
    let server = format!("127.0.0.1:{}", old.plain);
    let file = passwords(&host, "alice:alice\nbob:bob\ncarol:guess9\n");
    let verify = ["--all", "--verify", &server, "--passwords", &file];
    let (status, answer) = adopt(&host, &[&verify[..], &["--dry-run"]].concat());
    assert_eq!(
        (status, outcome(&answer, "alice")),
        (3, "would_adopt"),
        "{answer}"
    );
    let (status, answer) = adopt(&host, &verify);
    assert_eq!(status, 3, "{answer}");
    let alice = of(&answer, "alice");
    assert_eq!(alice["outcome"], "adopted", "{answer}");
    let compared = &alice["old_server"];
    assert_eq!(
        (
            &compared["uidls_differ"],
            &compared["sizes_differ"],
            &compared["later"]
        ),
        (&0.into(), &0.into(), &1.into()),
        "{answer}"
    );
    assert_eq!(outcome(&answer, "bob"), "differs", "{answer}");
    assert_eq!(
        of(&answer, "bob")["old_server"]["first_difference"]["number"],
        1
    );
    let why = of(&answer, "carol")["why"].as_str().unwrap();
    assert!(
        why.contains("PASS is refused") && !why.contains("guess9"),
        "{why}"
    );
    assert_eq!(states(&host), ["alice"]);
    let seen = uidls(&mut host.login("alice"));
    assert_eq!(seen[..known[0].1.len()], known[0].1);
    // A user who is adopted already is compared too.
    let (_, answer) = adopt(
        &host,
        &["--user", "alice", "--verify", &server, "--passwords", &file],
    );
    assert_eq!(
        of(&answer, "alice")["old_server"]["uidls_differ"],
        0,
        "{answer}"
    );
    assert_eq!(outcome(&answer, "alice"), "skipped", "{answer}");
    // Others could read the passwords.
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let output = command(&host, &verify).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("mode 0600") && output.status.code() == Some(1),
        "{said}"
    );
}

/// The names of Dovecot's master users: `USER*MASTER`.
#[test]
fn a_master_user_can_ask_the_old_server() {
    let mail = bytes("plain.mbox");
    let old = Host::with(&[user("alice*admin", 64411, &mail)], ADOPT, &[]);
    let host = Host::with(&[user("alice", 64411, &mail)], ADOPT, &[]);
    let server = format!("127.0.0.1:{}", old.plain);
    let file = passwords(&host, "*admin:alice*admin\n");
    let verify = ["--all", "--verify", &server, "--passwords", &file];
    let (status, answer) = adopt(&host, &[&verify[..], &["--master", "*admin"]].concat());
    assert_eq!(
        (status, outcome(&answer, "alice")),
        (0, "adopted"),
        "{answer}"
    );
}

/// Users of the system: those that it lists, and those with a spool.
#[test]
fn all_users_of_the_system_are_found() {
    if !root() {
        return skipped("users of the system: it takes root");
    }
    let Ok(Some(daemon)) = nix::unistd::User::from_name("daemon") else {
        return skipped("a user daemon");
    };
    let program = "source = \"checkpassword\"\ncheckpassword = \"/usr/bin/true\" # ";
    let system = [("passwd_file = ", program)];
    let host = Host::with(&[], ADOPT, &system);
    let mail = host.spool("daemon");
    fs::write(&mail, bytes("plain.mbox")).unwrap();
    std::os::unix::fs::chown(&mail, Some(daemon.uid.as_raw()), Some(daemon.gid.as_raw())).unwrap();
    let (_, answer) = adopt(&host, &["--all", "--dry-run"]);
    assert_eq!(outcome(&answer, "daemon"), "would_adopt", "{answer}");
    assert!(answer["users"].as_array().unwrap().len() > 1, "{answer}");
    let names = answer["users"].as_array().unwrap().iter();
    assert!(names.clone().all(|user| user["user"] != "root"), "{answer}");
}
