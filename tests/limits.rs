//! What one client may take of the server (promise P8). A client that stands still costs nobody
//! else anything.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::wire::{Security, Wire};
use host::{Client, Host, PATIENCE, assert_ok, large_spool, resident, spool, until, user};
use std::time::{Duration, Instant};

fn host(limits: &str) -> Host {
    let users = [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &large_spool()),
    ];
    Host::with(&users, &format!("[limits]\n{limits}\n"), &[])
}

#[test]
fn p8_a_connection_without_a_login_ends_in_time() {
    let host = host("login = \"1s\"");
    let why = "-ERR [SYS/TEMP] no login in time, the connection is closed: please try again\r\n";
    let mut silent = host.connect();
    let mut busy = host.connect();
    let mut handshake = Client::new(host.tls);
    busy.send(b"USER alice\r\n");
    assert_eq!(silent.until_end(), why);
    assert_eq!(handshake.until_end(), "", "nothing in the clear");
    // USER may have come too late.
    let heard = busy.until_end();
    assert!(
        heard.matches("+OK").count() < 2 && heard.ends_with(why),
        "{heard}"
    );
    let config = host::wire::config(&host);
    let (mut tls, _) = Wire::connect(&host, &config, Security::Implicit);
    tls.send(b"AUTH PLAIN\r\n");
    assert_eq!(tls.line().as_deref(), Some("+ "));
    assert_eq!(tls.line().as_deref(), Some(why.trim_end()));
    assert_eq!(tls.line(), None);
    host.logged_times("why=\"no login in time\"", 4);
}

#[test]
fn the_end_of_the_login_time_is_told_in_the_clients_language() {
    let host = host("login = \"1s\"");
    let mut client = host.connect();
    client.send(b"LANG de\r\n");
    let heard = client.until_end();
    let why = "-ERR [SYS/TEMP] keine Anmeldung innerhalb der Frist";
    assert!(heard.contains(why), "{heard}");
}

#[test]
fn p7_an_idle_session_ends_without_deletions_and_frees_the_spool() {
    let host = host("idle = \"4s\"");
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    client.until_end();
    host.logged("why=idle");
    until("the spool is free", || !host.at("mail/alice.lock").exists());
    assert_eq!(host.bytes("alice"), spool(3));
}

#[test]
fn p8_a_client_that_reads_nothing_is_ended_and_delays_nobody() {
    let host = host("stall = \"2s\"");
    let mut bob = host.login("bob");
    bob.send(b"RETR 1\r\n");
    let mut alice = host.login("alice");
    let start = Instant::now();
    let end = || {
        let log = host.log();
        let mut lines = log.lines();
        let of_bob = |line: &&str| line.contains(" end session=") && line.contains("user=bob");
        lines.find(of_bob).map(str::to_owned)
    };
    while end().is_none() {
        assert_ok(&alice.ask("NOOP"));
        assert!(start.elapsed() < PATIENCE, "{}", host.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Three limits have the same length here. On a busy host any of them can be met first: on
    // silence, on the pace, and the kernel's own (TCP_USER_TIMEOUT).
    let reasons = [
        "client took nothing",
        "client took too little",
        "connection failed",
    ];
    let end = end().unwrap();
    let known = |why: &&str| end.contains(&format!("why=\"{why}\""));
    assert!(reasons.iter().any(known), "{end}");
    until("its worker has gone", || {
        host.children("popward-worker").len() == 1
    });
    assert_eq!(host.bytes("bob"), large_spool());
}

#[test]
fn p8_a_stalled_reply_takes_no_more_memory_than_a_packet() {
    let host = host("stall = \"60s\"");
    let front = host.children("popward-front")[0];
    let before = resident(front);
    let mut bob = host.login("bob");
    bob.send(b"RETR 1\r\n");
    assert_ok(&bob.line());
    std::thread::sleep(Duration::from_millis(500));
    let grown = resident(front).saturating_sub(before);
    assert!(
        grown < 2048,
        "the front grew by {grown} KiB for a message of 28 MB"
    );
    // The rest of the reply arrives whole.
    assert_eq!(
        bob.rest().len(),
        large_spool().len() - 1 - large_spool().iter().position(|b| *b == b'\n').unwrap() - 1
    );
    assert_ok(&bob.ask("QUIT"));
}

#[test]
fn p8_connections_of_one_address_are_limited() {
    let host = host("connections_per_address = 2");
    let (_one, mut two) = (host.connect(), host.connect());
    let mut third = Client::new(host.plain);
    assert!(
        third
            .until_end()
            .starts_with("-ERR [SYS/TEMP] Too many connections")
    );
    assert_ok(&two.ask("QUIT"));
    two.until_end();
    until("there is room again", || {
        Client::new(host.plain).line().starts_with("+OK")
    });
}

#[test]
fn p2_the_dotlock_is_refreshed_while_a_reply_stalls() {
    let host = host("stall = \"120s\"");
    let touched = || {
        let status = std::fs::metadata(host.at("mail/bob.lock")).unwrap();
        status.modified().unwrap()
    };
    let mut bob = host.login("bob");
    bob.send(b"RETR 1\r\n");
    let made = touched();
    // At least every 30 s (promise P2). maildrop breaks a dotlock that was not touched for 60 s.
    until("it is touched", || touched() > made);
    let after = touched().duration_since(made).unwrap();
    assert!(after <= Duration::from_secs(30), "{after:?}");
    assert!(bob.rest().len() > 1000);
}

#[test]
fn a_reload_lowers_and_raises_limits_connections_and_ends_no_session() {
    let host = host("connections = 4");
    let mut reloads = 0;
    let mut reload = |old: &str, new: &str| {
        let file = host.at("popward.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old));
        std::fs::write(&file, text.replace(old, new)).unwrap();
        host.signal(nix::sys::signal::Signal::SIGHUP);
        reloads += 1;
        host.logged_times("configuration reloaded", reloads);
    };
    // Sessions are not ended to make room.
    let sessions = || ["alice", "bob"].map(|user| host.login(user));
    let end = |sessions: [Client; 2]| {
        for mut session in sessions {
            assert_ok(&session.ask("NOOP"));
            assert_ok(&session.ask("QUIT"));
        }
        until("the old front has ended", || {
            host.children("popward-front").len() == 1
        });
    };
    let first = sessions();
    reload("connections = 4", "connections = 2");
    end(first);
    let second = sessions();
    let third = Client::new(host.plain).line();
    assert!(third.starts_with("-ERR [SYS/TEMP]"), "{third}");
    reload("connections = 2", "connections = 8");
    end(second);
    let _third = sessions();
    assert_ok(&Client::new(host.plain).line());
}

#[test]
fn too_few_open_files_are_logged_once_and_not_at_each_reload() {
    let start = |path: std::path::PathBuf| {
        let mut limited = std::process::Command::new("/bin/sh");
        let path = path.display();
        limited.args(["-c", &format!("ulimit -n 9000 && exec {path} \"$@\"")]);
        limited.arg(path.to_string());
        limited
    };
    let users = [user("alice", 64401, &spool(1))];
    let host = Host::by(start, &users, "[limits]\nconnections = 9000\n", &[]);
    let text = "the limit on open files permits fewer connections";
    host.logged(text);
    for times in 1..=2 {
        host.signal(nix::sys::signal::Signal::SIGHUP);
        host.logged_times("configuration reloaded", times);
    }
    assert_eq!(host.log().matches(text).count(), 1, "{}", host.log());
    let file = host.at("popward.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        config.replace("connections = 9000", "connections = 8000"),
    )
    .unwrap();
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged_times(text, 2);
}
