//! Processes are killed, or the server is told to end. The other processes live on, and only
//! deletions that were answered `+OK` happen.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, PATIENCE, assert_err, assert_ok, is_dead, spool, spool_of, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn two() -> [host::User; 2] {
    [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(3)),
    ]
}

fn kill_one(host: &Host, executable: &str) -> i32 {
    let pid = host.children(executable)[0];
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    pid
}

/// Waits until one process of `executable` runs, and it is not `pid`.
fn successor(host: &Host, executable: &str, pid: i32) {
    until(&format!("another {executable}"), || {
        let now = host.children(executable);
        now.len() == 1 && now[0] != pid
    });
}

#[test]
fn p7_a_killed_front_is_replaced_and_its_sessions_delete_nothing() {
    let host = Host::start(&two());
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    let (auth, keys) = (host.children("popward-auth"), host.children("popward-keys"));
    // The worker must not end while its front is still dying, because the monitor would report its
    // end to that front.
    let worker = Pid::from_raw(host.children("popward-worker")[0]);
    kill(worker, Signal::SIGSTOP).unwrap();
    let front = kill_one(&host, "popward-front");
    assert_eq!(client.until_end(), "");
    successor(&host, "popward-front", front);
    kill(worker, Signal::SIGCONT).unwrap();
    until("the workers end", || {
        host.children("popward-worker").is_empty()
    });
    assert_eq!(host.bytes("alice"), spool(3));
    assert_eq!(host.children("popward-auth"), auth, "auth lives on");
    assert_eq!(host.children("popward-keys"), keys, "keys lives on");
    host.logged("process=front");
    assert!(host.logged("why=\"its front died\"").contains("user=alice"));
    let mut client = host.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 3 "));
}

#[test]
fn a_killed_auth_is_replaced_and_sessions_go_on() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let auth = kill_one(&host, "popward-auth");
    successor(&host, "popward-auth", auth);
    assert_ok(&alice.ask("DELE 1"));
    assert_ok(&alice.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
    // The new auth serves once it answers. Until then a login is told to come again.
    until("logins work again", || {
        let mut client = host.connect();
        client.ask("USER bob");
        let answer = client.ask("PASS bob");
        assert!(
            answer.starts_with("+OK") || answer.starts_with("-ERR [SYS/TEMP]"),
            "{answer}"
        );
        answer.starts_with("+OK")
    });
}

/// Sends, in the name of `front`, bytes that no front sends, as an attacker could who has taken the
/// front over. They go into its `place`th channel: the monitor, the log, sessions, auth, keys.
/// This takes root.
fn speak_out_of_turn(front: i32, place: usize) {
    let script = "import ctypes, os, socket, sys\n\
        pid, place = int(sys.argv[1]), int(sys.argv[2])\n\
        libc, pidfd, channels = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid), []\n\
        for number in sorted(map(int, os.listdir(f'/proc/{pid}/fd'))):\n\
        \x20   if not os.readlink(f'/proc/{pid}/fd/{number}').startswith('socket:'): continue\n\
        \x20   own = libc.syscall(438, pidfd, number, 0)\n\
        \x20   if own < 0: sys.exit(os.strerror(ctypes.get_errno()))\n\
        \x20   end = socket.socket(fileno=own)\n\
        \x20   if end.type == socket.SOCK_SEQPACKET: channels.append(end)\n\
        channels[place].send(b'\\xff' * 8)\n";
    let (front, place) = (front.to_string(), place.to_string());
    let mut python = std::process::Command::new("python3");
    let output = python.args(["-c", script, &front, &place]).output();
    let output = output.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}

/// Has a front break the rules of its `place`th channel. Another front must replace it, and
/// everything must work again.
fn p1_a_front_is_replaced(place: usize, of: &str) {
    if !host::root() {
        return host::skipped("another process's sockets, without root");
    }
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let front = host.children("popward-front")[0];
    let others = [host.children("popward-auth"), host.children("popward-keys")];
    speak_out_of_turn(front, place);
    assert_eq!(alice.until_end(), "");
    successor(&host, "popward-front", front);
    let ended = host.logged("] a front's channel ended ");
    assert!(ended.contains(&format!(" {of}[")), "{ended}");
    let killed = host.logged("broke the rules of its channel: killed");
    assert!(killed.contains("process=front"), "{killed}");
    until("logins work again", || {
        let mut client = host.connect();
        client.ask("USER bob");
        client.ask("PASS bob").starts_with("+OK")
    });
    until("TLS works again", || {
        tls_greeting(&host).contains("+OK popward ready")
    });
    let now = [host.children("popward-auth"), host.children("popward-keys")];
    assert_eq!(now, others, "they live on");
    assert_eq!(host.bytes("alice"), spool(3), "nothing is deleted");
}

#[test]
fn p1_a_front_that_breaks_auths_rules_is_replaced() {
    p1_a_front_is_replaced(3, "auth");
}

#[test]
fn p1_a_front_that_breaks_keys_rules_is_replaced() {
    p1_a_front_is_replaced(4, "keys");
}

/// Sessions reads nothing from a front.
#[test]
fn p1_sessions_does_not_hear_a_front() {
    if !host::root() {
        return host::skipped("another process's sockets, without root");
    }
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let front = host.children("popward-front")[0];
    speak_out_of_turn(front, 2);
    assert_ok(&host.login("bob").ask("QUIT"));
    assert_ok(&alice.ask("DELE 1"));
    assert_ok(&alice.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
    assert_eq!(host.children("popward-front"), [front]);
}

#[test]
fn p7_killed_sessions_are_replaced_with_the_monitor_and_delete_nothing() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let (monitor, sessions) = (host.monitor(), host.sessions());
    kill(Pid::from_raw(sessions), Signal::SIGKILL).unwrap();
    let rest = alice.until_end();
    assert!(
        rest.is_empty() || rest.starts_with("-ERR [SYS/TEMP]"),
        "{rest}"
    );
    let died = host.logged("process died process=sessions");
    assert!(died.contains(&format!("pid={sessions} ")), "{died}");
    successor(&host, "popward-monitor", monitor);
    // The old front may still be there, and can begin no session.
    until("logins work again", || {
        let mut bob = host.connect();
        bob.ask("USER bob");
        bob.ask("PASS bob").starts_with("+OK")
    });
    assert_eq!(host.bytes("alice"), spool(3));
    // The new sessions looks for what the old one left.
    until("no dotlock stays", || !host.spool("alice.lock").exists());
    let mut alice = host.login("alice");
    assert!(alice.ask("STAT").starts_with("+OK 3 "));
    assert_ok(&alice.ask("DELE 1"));
    assert_ok(&alice.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
}

#[test]
fn a_killed_keys_is_replaced_and_tls_works_again() {
    let host = Host::start(&two());
    let keys = kill_one(&host, "popward-keys");
    successor(&host, "popward-keys", keys);
    until("TLS works again", || {
        tls_greeting(&host).contains("+OK popward ready")
    });
}

fn tls_greeting(host: &Host) -> String {
    let output = std::process::Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_quiet",
            "-verify_return_error",
        ])
        .arg("-CAfile")
        .arg(host.at("cert.pem"))
        .args(["-connect", &format!("localhost:{}", host.tls)])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write;
            let mut input = child.stdin.take().unwrap();
            let _ = input.write_all(b"QUIT\r\n");
            // The server answers QUIT and closes. openssl then ends.
            let output = child.wait_with_output();
            drop(input);
            output
        });
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

/// Who had connected before the end of the server was told to come again, so each restart failed
/// some logins.
#[test]
fn sigterm_lets_a_session_finish_and_a_login_too() {
    let mut host = Host::start(&two());
    let mut alice = host.login("alice");
    let mut bob = host.connect();
    assert_ok(&bob.ask("USER bob"));
    assert_ok(&alice.ask("DELE 1"));
    host.signal(Signal::SIGTERM);
    until("no new connections", || {
        std::net::TcpStream::connect(("127.0.0.1", host.plain)).is_err()
    });
    assert_ok(&alice.ask("QUIT"));
    assert_ok(&bob.ask("PASS bob"));
    assert_ok(&bob.ask("QUIT"));
    assert_eq!(host.stop(), Some(0));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
}

#[test]
fn a_stranger_who_does_nothing_delays_no_restart_by_the_grace_of_sessions() {
    let grace = [("shutdown_grace = \"5s\"\n", "shutdown_grace = \"600s\"\n")];
    let mut host = Host::with(&two(), "", &grace);
    let mut stranger = host.connect();
    // Within the patience of `stop`.
    assert_eq!(host.stop(), Some(0));
    assert!(stranger.until_end().starts_with("-ERR [SYS/TEMP]"));
}

#[test]
fn p7_a_session_that_outlasts_the_shutdown_grace_deletes_nothing() {
    let mut host = Host::start(&two());
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let start = std::time::Instant::now();
    assert_eq!(host.stop(), Some(0));
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(host.bytes("alice"), spool(3));
    assert!(!host.at("mail/alice.lock").exists());
}

/// The library that waits for processes has no name for signals from 34 on.
#[test]
fn p2_a_worker_that_is_ended_by_a_nameless_signal_leaves_no_lock() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let worker = host.children("popward-worker")[0];
    let kill = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -34 {worker}")])
        .status();
    assert!(kill.unwrap().success());
    assert_err(&alice.ask("STAT"));
    until("the spool is free", || !host.at("mail/alice.lock").exists());
    assert_ok(&host.login("alice").ask("QUIT"));
}

#[test]
fn p7_no_process_outlives_a_killed_supervisor() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let all = host::descendants(host.pid());
    // Log, monitor, sessions, front, auth, keys, worker.
    assert_eq!(all.len(), 7);
    host.signal(Signal::SIGKILL);
    until("all end", || all.iter().all(|pid| is_dead(*pid)));
    assert_eq!(host.bytes("alice"), spool(3));
    assert!(!host.spool("alice.lock").exists());
}

#[test]
fn p7_a_killed_monitor_is_replaced_and_its_sessions_delete_nothing() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    assert_ok(&alice.ask("DELE 1"));
    let monitor = host.monitor();
    let below = host::descendants(monitor);
    assert_eq!(below.len(), 5);
    kill(Pid::from_raw(monitor), Signal::SIGKILL).unwrap();
    // The front may hear of the worker's end before its own.
    let rest = alice.until_end();
    assert!(
        rest.is_empty() || rest.starts_with("-ERR [SYS/TEMP]"),
        "{rest}"
    );
    until("the processes below it end", || {
        below.iter().all(|pid| is_dead(*pid))
    });
    // Clients wait in the queues of the listening sockets, which the supervisor has.
    let mut bob = host.login("bob");
    successor(&host, "popward-monitor", monitor);
    let died = host.logged("process died process=monitor");
    assert!(died.contains(&format!("pid={monitor} ")), "{died}");
    assert_ok(&bob.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool(3));
    // The new monitor looks for what the old one left.
    until("no dotlock stays", || !host.spool("alice.lock").exists());
    let mut alice = host.login("alice");
    assert!(alice.ask("STAT").starts_with("+OK 3 "));
    assert_ok(&alice.ask("DELE 1"));
    assert_ok(&alice.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
    assert!(host.reload(&[]).status.success(), "a reload works");
}

/// A worker that is killed with its sessions leaves its dotlock.
#[test]
fn p2_a_dotlock_that_killed_sessions_left_is_removed_by_the_next_ones() {
    let host = Host::start(&two());
    let _client = host.login("alice");
    let sessions = Pid::from_raw(host.sessions());
    kill(sessions, Signal::SIGSTOP).unwrap();
    let worker = host.children("popward-worker")[0];
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    kill(sessions, Signal::SIGKILL).unwrap();
    until("the dotlock goes", || !host.spool("alice.lock").exists());
    assert!(host.login("alice").ask("STAT").starts_with("+OK 3 "));
}

#[test]
fn a_killed_log_process_is_replaced_and_nothing_else_ends() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let others = |host: &Host| {
        let all = ["monitor", "sessions", "front", "auth", "keys", "worker"];
        all.map(|name| host.children(&format!("popward-{name}")))
    };
    let before = others(&host);
    // What it has not written when it dies is lost.
    host.logged("] login session=");
    let log = kill_one(&host, "popward-log");
    host.logged(&format!("process died process=log pid={log}"));
    assert_ok(&alice.ask("QUIT"));
    assert_ok(&host.login("bob").ask("QUIT"));
    assert!(
        host.logged_times("] login session=", 2)
            .contains("user=bob")
    );
    assert_eq!(others(&host)[..5], before[..5]);
}

/// popward-log runs as nobody. Without `CAP_KILL`, the supervisor could not end it, and would wait for
/// it without a limit.
#[test]
fn a_stopped_log_process_does_not_keep_the_server_from_ending() {
    let mut host = Host::start(&two());
    host.login("alice");
    let log = host.children("popward-log")[0];
    kill(Pid::from_raw(log), Signal::SIGSTOP).unwrap();
    assert_eq!(host.stop(), Some(0));
    assert!(is_dead(log));
}

#[test]
fn a_reload_takes_new_certificates_and_a_bad_configuration_changes_nothing() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let good = std::fs::read_to_string(host.at("popward.toml")).unwrap();
    std::fs::write(host.at("popward.toml"), format!("{good}\nnonsense = [\n")).unwrap();
    host.signal(Signal::SIGHUP);
    assert!(
        host.logged("popward.toml:").contains("expected"),
        "{}",
        host.log()
    );
    assert_ok(&alice.ask("NOOP"));
    std::fs::write(host.at("popward.toml"), good).unwrap();
    host::certificate(&host.at(""), &["ed25519"]);
    host.signal(Signal::SIGHUP);
    until("the new certificate is served", || {
        tls_greeting(&host).contains("+OK popward ready")
    });
    assert_ok(&alice.ask("NOOP"));
    assert_err(&alice.ask("XYZZY"));
}

#[test]
fn an_auth_that_hangs_is_replaced_by_a_reload() {
    let host = Host::start(&two());
    let mut alice = host.login("alice");
    let auth = host.children("popward-auth")[0];
    kill(Pid::from_raw(auth), Signal::SIGSTOP).unwrap();
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    // The new auth waits 10 s for what the old one remembers, and says that it did not come.
    let mut client = host.connect();
    assert_ok(&client.ask("USER bob"));
    assert_ok(&client.ask("PASS bob"));
    let line = host.logged("failures and last logins were not handed over");
    assert!(line.contains("error=\"not in time\""), "{line}");
    // The old front is with its last session, and the old auth ends after it.
    assert_ok(&alice.ask("QUIT"));
    successor(&host, "popward-auth", auth);
    // A process that is ending has no command line any more, and is not dead yet.
    until("the old auth ends", || is_dead(auth));
}

#[test]
fn a_new_auth_that_does_not_answer_makes_a_reload_fail_and_the_old_one_goes_on() {
    let host = Host::start(&two());
    let (auth, path) = (
        host.children("popward-auth")[0],
        host.at("libexec/popward-auth"),
    );
    // Another file: the old one is in use.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "#!/bin/sh\nsleep 100\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = host.reload(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("auth cannot serve after 30 s"), "{said}");
    assert_ok(&host.login("alice").ask("QUIT"));
    until("the late one is ended", || {
        host.children("/bin/sh").is_empty()
    });
    assert_eq!(host.children("popward-auth"), [auth]);
}
