//! An upgrade in place: executables are replaced under a server that runs, and then it is reloaded.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, root, skipped, spool, spool_of, until, user};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Replaces each executable of the host by its bytes after `change`, as a package manager does.
fn replace(host: &Host, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let draft = host.at("draft");
    for name in include_str!("../packaging/executables").lines() {
        let path = host.at("libexec").join(name);
        std::fs::write(&draft, change(std::fs::read(&path).unwrap())).unwrap();
        let new = path.with_extension("new");
        // As in `host::install`: the kernel executes no file that a process could write to.
        let copied = Command::new("cp").arg(&draft).arg(&new).status().unwrap();
        assert!(copied.success());
        let rights = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&new, rights).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }
}

/// The executables that processes of the server still run, though they have been replaced.
fn old(host: &Host) -> BTreeSet<String> {
    let links = host::descendants(host.pid())
        .into_iter()
        .chain([host.pid()])
        .filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    links
        .filter_map(|link| Some(name(&link).strip_suffix(" (deleted)")?.to_owned()))
        .collect()
}

/// A session in which the first message is marked as deleted.
fn begin(host: &Host, name: &str) -> Client {
    let mut client = host.login(name);
    assert_ok(&client.ask("DELE 1"));
    client
}

#[test]
fn p3_sessions_outlive_an_upgrade_by_a_reload() {
    if !root() {
        return skipped("which executable a process of the server runs: needs root");
    }
    let names: Vec<_> = (0..50).map(|n| format!("user{n}").leak() as &str).collect();
    let users: Vec<_> = (64_600..)
        .zip(&names)
        .map(|(uid, name)| user(name, uid, &spool(2)))
        .collect();
    let host = Host::start(&users);
    let mut clients: Vec<_> = names.iter().map(|name| begin(&host, name)).collect();
    replace(&host, |bytes| bytes);
    assert!(host.reload(&[]).status.success());
    // The new front serves who comes now. One user's second session would wait for the first one's
    // locks.
    assert_ok(&clients.pop().unwrap().ask("QUIT"));
    let newcomer = names.last().unwrap();
    assert_ok(&begin(&host, newcomer).ask("RSET"));
    assert!(old(&host).contains("popward-worker"));
    for client in &mut clients {
        assert_ok(&client.ask("STAT"));
        assert_ok(&client.ask("QUIT"));
    }
    for name in &names {
        assert_eq!(host.bytes(name), spool_of([2]));
    }
    let stay = ["popward", "popward-log"].map(str::to_owned);
    until("all other processes are new", || {
        old(&host) == BTreeSet::from(stay.clone())
    });
    assert_ok(&host.login(newcomer).ask("QUIT"));
}

/// The package then restarts popward. x86_64 has the version in one piece in its instructions.
#[cfg(target_arch = "x86_64")]
#[test]
fn p3_an_upgrade_with_other_messages_is_told_and_harms_no_session() {
    let mut host = Host::start(&[
        user("alice", 64_600, &spool(2)),
        user("bob", 64_601, &spool(2)),
    ]);
    let mut client = begin(&host, "alice");
    let version = popward_proto::VERSION.to_le_bytes();
    replace(&host, |mut bytes| {
        for at in 0..bytes.len() - version.len() {
            if bytes[at..].starts_with(&version) {
                bytes[at] ^= 1;
            }
        }
        bytes
    });
    let reload = host.reload(&[]);
    let said = String::from_utf8(reload.stderr).unwrap();
    assert_eq!(reload.status.code(), Some(3), "{said}");
    assert!(said.contains("restart popward"), "{said}");
    // A signal does not get around that.
    host.signal(nix::sys::signal::Signal::SIGHUP);
    let text = "not reloaded error=\"popward-config speaks protocol version";
    host.logged(text);
    let answer = host.answer("bob", "bob");
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    assert_ok(&client.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool_of([2]));
    assert_eq!(host.stop(), Some(0));
    host.start_again();
    assert_ok(&host.login("bob").ask("QUIT"));
}
