//! A user logs in again while another session of theirs is silent (`limits.yield_to_newcomer`).
//! The silent session ends and deletes nothing, and the new one gets the locks.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
mod network;

use host::{Host, assert_err, assert_ok, large_spool, retrieved, root, skipped, spool, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

/// A host on which sessions yield after `silence`, and a login waits 20 s for locks.
fn host(silence: &str, mail: &[u8]) -> Host {
    let limits = format!("[limits]\nyield_to_newcomer = \"{silence}\"\n");
    let changes = [("lock_timeout = \"2s\"", "lock_timeout = \"20s\"")];
    Host::with(&[user("alice", 64401, mail)], &limits, &changes)
}

#[test]
fn p7_a_silent_session_yields_to_its_users_new_login_and_deletes_nothing() {
    let host = host("1s", &spool(3));
    let mut silent = host.login("alice");
    assert_ok(&silent.ask("DELE 1"));
    let mut newcomer = host.login("alice");
    assert!(newcomer.ask("STAT").starts_with("+OK 3 "));
    let said = silent.until_end();
    assert!(said.starts_with("-ERR [IN-USE] "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    host.logged("why=\"silent, and the user logged in again\"");
    assert_ok(&newcomer.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool(3));
}

#[test]
fn a_session_that_is_used_does_not_yield() {
    let host = Host::with(
        &[user("alice", 64401, &spool(3))],
        "[limits]\nyield_to_newcomer = \"2s\"\n",
        &[("lock_timeout = \"2s\"", "lock_timeout = \"5s\"")],
    );
    let mut used = host.login("alice");
    let mut newcomer = host.connect_any();
    assert_ok(&newcomer.ask("USER alice"));
    newcomer.send(b"PASS alice\r\n");
    // Longer than the newcomer waits.
    for _ in 0..60 {
        assert_ok(&used.ask("NOOP"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = newcomer.line();
    assert!(answer.starts_with("-ERR [IN-USE] "), "{answer}");
    assert_ok(&used.ask("QUIT"));
}

#[test]
fn a_client_that_takes_nothing_of_a_reply_yields_and_the_reply_is_cut_off_without_a_text() {
    let host = host("1s", &large_spool());
    let mut silent = host.login("alice");
    silent.send(b"RETR 1\r\n");
    assert_ok(&silent.line());
    let mut newcomer = host.login("alice");
    assert_ok(&newcomer.ask("NOOP"));
    // The rest is what the kernel had taken: a part of the message.
    let rest = silent.until_end();
    assert!(!rest.contains("-ERR"), "a text in a message");
    assert!(retrieved_part(&rest), "no part of the message");
}

/// Whether this is a part of the large spool's message, and not all of it.
fn retrieved_part(rest: &str) -> bool {
    !rest.is_empty() && !rest.ends_with("\r\n.\r\n")
}

#[test]
fn a_client_that_lost_its_network_yields_while_it_is_sent_a_reply() {
    let Some(network) = network::Network::new() else {
        return;
    };
    let (server, client) = (network.machine(1), network.machine(2));
    let changes = [
        ("address = \"127.0.0.1:", "address = \"0.0.0.0:"),
        ("[auth]\n", "[auth]\nplaintext = \"always\"\n"),
        ("lock_timeout = \"2s\"", "lock_timeout = \"20s\""),
    ];
    let limits = "[limits]\nyield_to_newcomer = \"1s\"\n";
    let users = [user("alice", 64401, &large_spool())];
    let host = Host::by(|path| server.command(path), &users, limits, &changes);
    let login = "import poplib, sys\n\
        pop = poplib.POP3(sys.argv[1], int(sys.argv[2]), timeout=30)\n\
        pop.user('alice'), pop.pass_('alice')\n\
        print('in', flush=True)\n\
        sys.stdin.readline()\n\
        pop.sock.sendall(b'RETR 1\\r\\n')\n\
        sys.stdin.readline()\n";
    let start = |machine: &network::Machine| {
        let mut python = machine.command("python3");
        python.args(["-c", login, &server.address, &host.plain.to_string()]);
        let mut child = python
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = child.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        (child, line)
    };
    let (mut lost, line) = start(&client);
    assert_eq!(line, "in\n");
    server.loses(&client);
    // The command still arrives. Nobody acknowledges the message.
    lost.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let (mut newcomer, line) = start(&server);
    assert_eq!(line, "in\n");
    host.logged("why=\"silent, and the user logged in again\"");
    for child in [&mut lost, &mut newcomer] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn sessions_that_never_yield_keep_their_maildrop() {
    let never = "[limits]\nyield_to_newcomer = \"never\"\n";
    let host = Host::with(&[user("alice", 64401, &spool(3))], never, &[]);
    let mut silent = host.login("alice");
    std::thread::sleep(Duration::from_secs(2));
    let answer = host.answer("alice", "alice");
    assert!(answer.starts_with("-ERR [IN-USE] "), "{answer}");
    assert_ok(&silent.ask("QUIT"));
}

#[test]
fn an_update_is_not_ended_for_a_newcomer() {
    let host = Host::with(
        &[user("alice", 64401, &spool(3))],
        "[limits]\nyield_to_newcomer = \"1s\"\n",
        &[],
    );
    let mut updating = host.login("alice");
    assert_ok(&updating.ask("DELE 1"));
    let workers = host.children("popward-worker");
    let worker = Pid::from_raw(workers[0]);
    // The worker has not begun, so the session waits for its update.
    kill(worker, Signal::SIGSTOP).unwrap();
    updating.send(b"QUIT\r\n");
    std::thread::sleep(Duration::from_secs(2));
    let answer = host.answer("alice", "alice");
    assert_err(&answer);
    kill(worker, Signal::SIGCONT).unwrap();
    assert_ok(&updating.line());
    assert_eq!(host.bytes("alice"), host::spool_of([2, 3]));
}

#[test]
fn another_users_login_ends_no_session() {
    if !root() {
        skipped("one user cannot have the mail of two");
        return;
    }
    let users = [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(1)),
    ];
    let host = Host::with(&users, "[limits]\nyield_to_newcomer = \"1s\"\n", &[]);
    let mut silent = host.login("alice");
    std::thread::sleep(Duration::from_secs(2));
    let mut other = host.login("bob");
    assert_ok(&other.ask("QUIT"));
    assert_eq!(silent.ask("RETR 1").split(' ').next(), Some("+OK"));
    assert_eq!(silent.rest(), retrieved(1));
}
