//! What guessing passwords costs whoever guesses, what it cannot find out, and that a flood of it says little in the log.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, root, spool, until, user};
use std::fs;
use std::process::Command;

const WRONG: &str = "-ERR [AUTH] user name or password wrong";

/// A host of one user, `alice`, whose password is `a`; with these lines in `[auth]` and these in `[limits]`.
fn host(auth: &str, limits: &str) -> Host {
    let auth = format!("[auth]\n{auth}\n");
    let limits = format!("[limits]\n{limits}\n");
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        &limits,
        &[("[auth]\n", &auth)],
    );
    users(&host, &format!("alice:{}:{}\n", slow("a"), ids()));
    host
}

fn users(host: &Host, lines: &str) {
    fs::write(host.at("users"), lines).unwrap();
}

/// The account's ids: not root's, or this process's.
fn ids() -> String {
    if root() {
        return "64401:64401::/nonexistent".to_owned();
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    format!("{uid}:{gid}::/nonexistent")
}

/// A hash that takes so long that checks which begin together are under way together.
fn slow(password: &str) -> String {
    let script = format!("print crypt('{password}', '$6$rounds=40000$saltsaltsaltsalt$')");
    let output = Command::new("perl").args(["-e", &script]).output().unwrap();
    format!("{{CRYPT}}{}", String::from_utf8(output.stdout).unwrap())
}

/// What each of so many clients hears that send this password at the same time.
fn at_once(host: &Host, count: usize, name: &str, secret: &str) -> Vec<String> {
    let mut clients: Vec<Client> = (0..count).map(|_| host.connect_any()).collect();
    for client in &mut clients {
        assert_ok(&client.ask(&format!("USER {name}")));
    }
    for client in &mut clients {
        client.send(format!("PASS {secret}\r\n").as_bytes());
    }
    clients.iter_mut().map(Client::line).collect()
}

fn pass(host: &Host, name: &str, secret: &str) -> String {
    at_once(host, 1, name, secret).remove(0)
}

/// How many lines there are with this, after auth has said all that it had to say.
fn lines(host: &Host, text: &str) -> usize {
    let marker = format!("marker{}", host.log().len());
    assert_eq!(pass(host, &marker, "x"), WRONG);
    host.logged(&format!("user={marker} peer=127.0.0.1 why="));
    host.log().matches(text).count()
}

#[test]
fn of_many_guesses_at_once_no_more_are_looked_at_than_may_fail() {
    let host = host(
        "source_failures = 0\naccount_failures = 4\naccount_window = 3600",
        "",
    );
    let answers = at_once(&host, 50, "alice", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "why=\"wrong password\""), 4);
    assert_eq!(lines(&host, "too many failures: nothing is checked"), 1);
    assert_eq!(
        pass(&host, "alice", "a"),
        WRONG,
        "nothing is checked for alice now"
    );
    // Nor for somebody who does not exist.
    let answers = at_once(&host, 20, "nobody", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "user=nobody peer=127.0.0.1 why="), 4);
}

#[test]
fn who_knows_the_password_gets_in_however_many_come_at_once() {
    let host = host("account_failures = 1\naccount_window = 3600", "");
    // Only one has the spool's locks.
    let answers = at_once(&host, 6, "alice", "a");
    let opened = answers.iter().filter(|answer| answer.starts_with("+OK"));
    assert_eq!(opened.count(), 1, "{answers:?}");
    let in_use = answers
        .iter()
        .filter(|answer| answer.starts_with("-ERR [IN-USE]"));
    assert_eq!(in_use.count(), 5, "{answers:?}");
}

#[test]
fn p8_a_source_that_has_to_wait_is_said_once_and_not_for_each_login() {
    let auth = "source_exempt = []\nsource_failures = 2\nsource_wait_max = 1\naccount_failures = 0";
    let host = host(auth, "");
    for _ in 0..2 {
        assert_eq!(pass(&host, "alice", "b"), WRONG);
    }
    assert_eq!(lines(&host, "a source waits"), 1, "the marker waits");
    let answers = at_once(&host, 30, "alice", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "a source waits"), 1);
    assert!(host.logged("a source waits").ends_with("times=1"));
}

#[test]
fn p8_what_cannot_be_checked_is_said_once_and_not_for_each_login() {
    let host = host("source_failures = 0\naccount_failures = 0", "");
    let good = fs::read_to_string(host.at("users")).unwrap();
    fs::rename(host.at("users"), host.at("away")).unwrap();
    for answer in at_once(&host, 30, "alice", "a") {
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    }
    fs::rename(host.at("away"), host.at("users")).unwrap();
    assert_eq!(lines(&host, "cannot check"), 1);
    // Another cause is another line; and who has the account does not learn of it (P9).
    users(&host, &good.replace(&ids(), "root:1"));
    let answers = at_once(&host, 30, "alice", "a");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "cannot check"), 2);
    host.logged("users: line 1: expected a user id");
}

#[test]
fn p8_who_gets_no_worker_or_comes_too_soon_is_said_once() {
    let delay = "source_failures = 0\nlogin_delay = 3600";
    let host = host(delay, "sessions_per_user = 1");
    assert_ok(&pass(&host, "alice", "a"));
    for answer in at_once(&host, 20, "alice", "a") {
        assert!(answer.starts_with("-ERR [LOGIN-DELAY]"), "{answer}");
    }
    assert_eq!(lines(&host, "why=auth.login_delay"), 1);
    let config = fs::read_to_string(host.at("popward.toml")).unwrap();
    fs::write(
        host.at("popward.toml"),
        config.replace("login_delay = 3600", ""),
    )
    .unwrap();
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    until("the first session is over", || {
        host.children("popward-worker").is_empty()
    });
    let mut first = host.connect_any();
    assert_ok(&first.ask("USER alice"));
    assert_ok(&first.ask("PASS a"));
    for answer in at_once(&host, 20, "alice", "a") {
        assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    }
    assert_ok(&first.ask("NOOP"));
    assert_eq!(lines(&host, "as many sessions as a user may have"), 1);
}
