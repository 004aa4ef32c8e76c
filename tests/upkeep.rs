//! `popwardctl index` and `popwardctl recover`: what a login does with a user's files, without a
//! login, and beside a running server.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, at_once, crash, length, message, spool, until, user};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

/// `popwardctl` with these words. The exit status, what has become of alice, and the details.
fn ctl(host: &Host, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(host.at("libexec/popwardctl"));
    command.args(words).arg("--json");
    command.arg("--config").arg(host.at("popward.toml"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let alice = &answer["users"][0];
    let text = |field: &str| alice[field].as_str().unwrap().to_owned();
    (
        output.status.code().unwrap(),
        text("outcome"),
        text("details"),
    )
}

/// Messages that are worth an index.
fn mail() -> Vec<u8> {
    let body = ("x".repeat(70) + "\n").repeat(30);
    let all: String = (1..=300).map(|number| message(number, &body)).collect();
    all.into_bytes()
}

/// A session that makes the index.
fn log_in(host: &Host) {
    let mut client = host.login("alice");
    assert_ok(&client.ask("QUIT"));
    until_free(host);
}

fn until_free(host: &Host) {
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
}

fn append(host: &Host, text: &str) {
    let mut file = fs::File::options()
        .append(true)
        .open(host.spool("alice"))
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const CHECK: &[&str] = &["index", "check", "alice"];
const REBUILD: &[&str] = &["index", "rebuild", "alice"];
const RECOVER: &[&str] = &["recover", "alice"];

#[test]
fn an_index_is_compared_with_the_spool_and_stays() {
    let host = Host::start(&[user("alice", 64421, &mail())]);
    let index = host.at("state/alice/index");
    assert_eq!(ctl(&host, CHECK).1, "good", "there is none");
    log_in(&host);
    let before = fs::read(&index).unwrap();
    let (status, outcome, details) = ctl(&host, CHECK);
    assert_eq!((status, outcome.as_str()), (0, "good"), "{details}");
    assert_eq!(details, "300 messages, all as in the spool");
    append(&host, &message(301, "later"));
    let (status, _, details) = ctl(&host, CHECK);
    assert!(
        status == 0 && details.contains("0 are not there any more"),
        "{details}"
    );
    // Another program has rewritten the spool.
    let rest = host.bytes("alice")[message(1, "").len()..].to_vec();
    fs::write(host.spool("alice"), [b"From x", &rest[..]].concat()).unwrap();
    let (_, outcome, details) = ctl(&host, CHECK);
    assert!(
        outcome == "failed" || !details.contains(" 0 are"),
        "{details}"
    );
    assert_eq!(fs::read(&index).unwrap(), before);
    fs::write(&index, &before[1..]).unwrap();
    fs::write(host.spool("alice"), mail()).unwrap();
    let (status, _, details) = ctl(&host, CHECK);
    assert!(status == 0 && details.contains("damaged"), "{details}");
    assert!(!host.spool("alice.lock").exists());
}

#[test]
fn p7_an_index_is_made_anew_under_the_locks_and_nothing_else_changes() {
    let host = Host::start(&[user("alice", 64421, &mail())]);
    let index = host.at("state/alice/index");
    assert_eq!(ctl(&host, REBUILD).1, "nothing", "no state directory");
    assert!(!host.at("state/alice").exists());
    log_in(&host);
    let made = fs::read(&index).unwrap();
    fs::write(&index, &made[..100]).unwrap();
    let (status, outcome, details) = ctl(&host, REBUILD);
    assert_eq!((status, outcome.as_str()), (0, "rebuilt"), "{details}");
    assert!(
        details.contains("300 messages, all as in the spool"),
        "{details}"
    );
    assert_eq!(fs::read(&index).unwrap(), made);
    // An index that is good is made anew, too.
    let written = || fs::metadata(&index).unwrap().modified().unwrap();
    let before = written();
    assert_eq!(ctl(&host, REBUILD).1, "rebuilt");
    assert!(written() > before);
    assert_eq!(host.bytes("alice"), mail());
    assert!(!host.spool("alice.lock").exists());
    log_in(&host);
    host.logged("how=unchanged");
    // A session has the locks, and the index stays.
    let mut client = host.login("alice");
    let (status, outcome, details) = ctl(&host, REBUILD);
    assert_eq!((status, outcome.as_str()), (3, "in_use"), "{details}");
    assert_eq!(fs::read(&index).unwrap(), made);
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
}

#[test]
fn a_small_spool_has_no_index_to_make() {
    let host = Host::start(&[user("alice", 64421, &spool(2))]);
    log_in(&host);
    let (status, outcome, _) = ctl(&host, REBUILD);
    assert_eq!((status, outcome.as_str()), (0, "nothing"));
}

#[test]
fn p3_recover_finishes_an_update_that_a_killed_server_left() {
    let body = ("x".repeat(70) + "\n").repeat(1500);
    let messages: Vec<String> = (1..=300).map(|number| message(number, &body)).collect();
    let (old, after) = (
        messages.concat(),
        [&messages[..1], &messages[2..]].concat().concat(),
    );
    let mut host = Host::start(&[user("alice", 64421, old.as_bytes())]);
    assert_eq!(ctl(&host, RECOVER).1, "nothing");
    for _ in 0..40 {
        fs::write(host.spool("alice"), &old).unwrap();
        let mut client = host.login("alice");
        assert_ok(&client.ask("DELE 2"));
        client.send(b"QUIT\r\n");
        let journal = host.at("state/alice/journal");
        at_once("the update begins", || {
            journal.exists() || length(&host.spool("alice")) == after.len()
        });
        crash(&host);
        let stood = journal.exists();
        if stood {
            let (status, outcome, details) = ctl(&host, RECOVER);
            assert_eq!((status, outcome.as_str()), (0, "finished"), "{details}");
            assert!(host.bytes("alice") == after.as_bytes());
            assert!(!journal.exists() && !host.spool("alice.lock").exists());
            assert_eq!(ctl(&host, RECOVER).1, "nothing");
        }
        host.start_again();
        if stood {
            return;
        }
    }
    panic!("never killed in an update");
}

/// The dotlock of a process that a crash ended. Delivery waits for it.
#[test]
fn p2_recover_removes_a_stale_dotlock_and_no_other_one() {
    let host = Host::start(&[user("alice", 64421, &spool(2))]);
    let mut client = host.login("alice");
    let lock = host.spool("alice.lock");
    let (status, outcome, details) = ctl(&host, RECOVER);
    assert_eq!((status, outcome.as_str()), (3, "in_use"), "{details}");
    assert!(lock.exists());
    let text = fs::read_to_string(&lock).unwrap();
    assert_ok(&client.ask("QUIT"));
    until_free(&host);
    until("its lock goes", || !lock.exists());
    // The worker is dead, and its lock is there again.
    fs::write(&lock, text).unwrap();
    let owner = fs::metadata(host.spool("alice")).unwrap();
    chown(&lock, Some(owner.uid()), None).unwrap();
    let (status, outcome, details) = ctl(&host, RECOVER);
    assert_eq!((status, outcome.as_str()), (0, "nothing"), "{details}");
    assert!(!lock.exists());
}
