//! That a user who stops or kills their own processes does not delay the logins of others.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, root, skipped, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Stops all other processes of its user, again and again, and ends them from time to time. So the
/// next login finds no stopped worker of this user.
const STORM: &str = "
import os, signal, time
while True:
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        try: os.kill(-1, signal.SIGSTOP)
        except OSError: pass
    try: os.kill(-1, signal.SIGKILL)
    except OSError: pass
";

/// A process that does so as this user.
struct Storm(Child, u32);

impl Storm {
    fn of(uid: u32) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", STORM]).uid(uid).gid(uid);
        Self(python.spawn().unwrap(), uid)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        // No stopped worker is left.
        let mut all = Command::new("sh");
        let _ = all
            .args(["-c", "kill -KILL -1"])
            .uid(self.1)
            .gid(self.1)
            .status();
    }
}

/// Ends [`try_again_and_again`], also if the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Logs in as alice, whatever the answer is, until `done`.
fn try_again_and_again(host: &Host, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        let mut client = Client::new(host.plain);
        client.line();
        client.send(b"USER alice\r\nPASS alice\r\n");
        client.line();
        // A stopped worker does not answer. The storm kills it soon.
        client.line();
    }
}

#[test]
fn a_user_who_stops_their_own_processes_delays_nobody_else() {
    if !root() {
        return skipped("processes of several users");
    }
    let users = [
        user("alice", 64_401, &spool(1)),
        user("bob", 64_402, &spool(1)),
    ];
    let host = Host::start(&users);
    let done = AtomicBool::new(false);
    let mut waits = [Vec::new(), Vec::new()];
    std::thread::scope(|scope| {
        let ended = Ended(&done);
        // Nobody logs in as the second user. So the load is the same without an attack.
        let storms = [64_401, 64_499].map(Storm::of);
        for _ in 0..3 {
            scope.spawn(|| try_again_and_again(&host, &done));
        }
        for round in 0..200 {
            storms[round % 2].signal(Signal::SIGCONT);
            storms[(round + 1) % 2].signal(Signal::SIGSTOP);
            let mut bob = host.connect();
            let began = Instant::now();
            assert_ok(&bob.ask("USER bob"));
            assert_ok(&bob.ask("PASS bob"));
            waits[round % 2].push(began.elapsed());
            assert_ok(&bob.ask("QUIT"));
        }
        storms
            .iter()
            .for_each(|storm| storm.signal(Signal::SIGCONT));
        drop(ended);
    });
    let [with, without] = waits.map(|mut waits| {
        waits.sort_unstable();
        (waits[waits.len() / 2], waits[waits.len() - 1])
    });
    let line = format!("median and longest wait: {with:?} with stops, {without:?} without");
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
    assert!(with.0 < without.0 + Duration::from_millis(5), "{line}");
}

#[test]
fn a_user_who_makes_their_own_sessions_fail_has_to_wait_and_nobody_else() {
    if !root() {
        return skipped("processes of several users");
    }
    let users = [
        user("alice", 64_401, &spool(1)),
        user("bob", 64_402, &spool(1)),
    ];
    let host = Host::start(&users);
    let storm = Storm::of(64_401);
    let why = "user=alice error=\"sessions of this user fail too often\"";
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ended = Ended(&done);
        // One client alone is too slow on a busy machine: 50 sessions have to fail in ten seconds.
        for _ in 0..8 {
            scope.spawn(|| try_again_and_again(&host, &done));
        }
        until("alice has to wait", || host.log().contains(why));
        host.login("bob");
    });
    drop(storm);
    until("alice has waited", || {
        host.answer("alice", "alice").starts_with("+OK")
    });
    host.assert_rate_limited(why, 1);
}
