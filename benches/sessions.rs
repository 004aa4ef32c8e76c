//! What sessions cost, measured on the real executables: the steps of a login, processor time over
//! all processes, and the memory of many sessions and of idle connections.
//!
//!     ./build && POPWARD_EXECUTABLES=$PWD/target/release cargo bench --bench sessions
//!
//! `POPWARD_LINES=50000` measures only logins, with so many more lines in the password file, half
//! of them before the users' own.

#![allow(
    clippy::unwrap_used,
    clippy::pedantic,
    reason = "a bench may fail, and rounds"
)]

#[path = "../tests/host/mod.rs"]
mod host;
mod measure;

use host::{Client, Host, User, assert_ok, pss, spool, user};
use measure::{median, processor, say};
use std::io::Read;
use std::time::{Duration, Instant};

/// How many logins are timed, one after another.
const LOGINS: usize = 1000;
/// How many sessions are open at once.
const SESSIONS: usize = 1000;
/// How many connections are idle at once.
const IDLE: usize = 1000;

fn main() {
    // `cargo test --benches` runs this as well. It then measures nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if !host::root() {
        return host::skipped("sessions of many users are root's to measure");
    }
    let names: Vec<&'static str> = (0..SESSIONS)
        .map(|n| &*Box::leak(format!("user{n}").into_boxed_str()))
        .collect();
    let users: Vec<User> = (70_000..)
        .zip(&names)
        .map(|(uid, name)| user(name, uid, &spool(10)))
        .collect();
    let changes = [
        ("first_uid = 1\n", "first_uid = 1\nlast_uid = 90000\n"),
        (
            "[spool]",
            "[limits]\nconnections_per_address = 10000\n[spool]",
        ),
    ];
    let host = Host::with(&users, "", &changes);
    // A user's first login makes the state directory. That happens only once.
    for name in &names {
        assert_ok(&host.login(name).ask("QUIT"));
    }
    if let Ok(lines) = std::env::var("POPWARD_LINES") {
        more_lines(&host, lines.parse().unwrap());
        return logins(&host, &names);
    }
    logins(&host, &names);
    idle(&host, false);
    idle(&host, true);
    sessions(&host, &names);
}

/// Adds lines of other users to the password file, each as long as a line with a SHA-512 hash.
fn more_lines(host: &Host, count: usize) {
    let own = std::fs::read_to_string(host.at("users")).unwrap();
    let hash = "x".repeat(86);
    let others = |half: usize| -> String {
        let line = |n| {
            format!(
                "other{half}{n}:{{SHA512-CRYPT}}$6$saltsaltsaltsalt${hash}:80000:80000::/home/other{n}\n"
            )
        };
        (0..count / 2).map(line).collect()
    };
    let text = format!("{}{own}{}", others(1), others(2));
    say(&format!("a password file of {} bytes", text.len()));
    std::fs::write(host.at("users"), text).unwrap();
}

fn logins(host: &Host, names: &[&str]) {
    let mut parts: [Vec<Duration>; 5] = Default::default();
    let before = processor(host);
    let start = Instant::now();
    for name in names.iter().cycle().take(LOGINS) {
        let mut now = Instant::now();
        let mut part = |number: usize| {
            let then = std::mem::replace(&mut now, Instant::now());
            parts[number].push(now - then);
        };
        let mut client = host.connect();
        part(0);
        assert_ok(&client.ask(&format!("USER {name}")));
        part(1);
        assert_ok(&client.ask(&format!("PASS {name}")));
        part(2);
        assert_ok(&client.ask("STAT"));
        part(3);
        assert_ok(&client.ask("QUIT"));
        part(4);
    }
    let took = start.elapsed().as_secs_f64();
    let after = processor(host);
    say(&format!(
        "{LOGINS} logins one after another, 10 messages each, {:.0} a second",
        LOGINS as f64 / took
    ));
    for (name, times) in [
        "connect to greeting",
        "USER",
        "PASS: auth, worker, locks, scan",
        "STAT",
        "QUIT: until the spool is free",
    ]
    .iter()
    .zip(parts)
    {
        say(&format!("  {name:34} {:7.3} ms (median)", median(times)));
    }
    let each: Vec<f64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) / LOGINS as f64)
        .collect();
    say(&format!(
        "  processor time of a whole session: {:.2} ms (supervisor, monitor and log {:.2}, worker {:.2}, front {:.2}, auth {:.2})",
        each.iter().sum::<f64>(),
        each[0],
        each[1],
        each[2],
        each[3],
    ));
}

fn all(host: &Host) -> u64 {
    let children = [
        "popward-monitor",
        "popward-sessions",
        "popward-log",
        "popward-front",
        "popward-auth",
        "popward-keys",
        "popward-worker",
    ];
    let pids = children
        .iter()
        .flat_map(|name| host.children(name))
        .chain([host.pid()]);
    pids.map(pss).sum()
}

fn sessions(host: &Host, names: &[&str]) {
    let before = all(host);
    let clients: Vec<Client> = names.iter().map(|name| host.login(name)).collect();
    let after = all(host);
    let front = pss(host.children("popward-front")[0]);
    say(&format!(
        "{} sessions open: {:.1} KiB each over all processes ({:.1} KiB of it the worker's); the front has {front} KiB",
        clients.len(),
        (after - before) as f64 / clients.len() as f64,
        host.children("popward-worker")
            .into_iter()
            .map(pss)
            .sum::<u64>() as f64
            / clients.len() as f64,
    ));
}

fn idle(host: &Host, tls: bool) {
    let front = host.children("popward-front")[0];
    // One round beforehand, because what the first connections cost stays.
    for round in 0..2 {
        let before = pss(front);
        let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
        for _ in 0..IDLE {
            if tls {
                let mut stream = measure::tls(host);
                let mut greeting = [0; 19];
                stream.read_exact(&mut greeting).unwrap();
                assert_eq!(&greeting, b"+OK popward ready\r\n");
                held.push(Box::new(stream));
            } else {
                held.push(Box::new(host.connect()));
            }
        }
        let each = pss(front).saturating_sub(before) as f64 / IDLE as f64;
        let kind = if tls { "TLS" } else { "plain" };
        if round == 0 {
            say(&format!(
                "{IDLE} idle {kind} connections: {each:.1} KiB each in the front"
            ));
        }
        drop(held);
        host::until("they are gone", || {
            let open = std::fs::read_dir(format!("/proc/{front}/fd"))
                .unwrap()
                .count();
            open < 50
        });
    }
}
