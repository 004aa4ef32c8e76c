//! Many clients of every kind at once. Afterwards the server is as it was before.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, root, spool, until, user};
use std::time::{Duration, Instant};

/// How many clients there are at once.
const CLIENTS: usize = 40;
/// How long they go on.
const TIME: Duration = Duration::from_secs(6);

const NAMES: [&str; 8] = ["ann", "bea", "cleo", "dora", "eve", "fay", "gwen", "hope"];

/// How many open descriptors each lasting process of the server has. Without root only those of the
/// supervisor and the monitor can be counted.
fn descriptors(host: &Host) -> Vec<usize> {
    let lasting = [
        "popward-front",
        "popward-auth",
        "popward-keys",
        "popward-log",
    ];
    let others = lasting
        .iter()
        .filter(|_| root())
        .map(|name| host.children(name)[0]);
    let count = |pid: i32| {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    [host.pid(), host.monitor(), host.sessions()]
        .into_iter()
        .chain(others)
        .map(count)
        .collect()
}

/// One session of a client. Its number decides what it does. Returns what it did.
fn session(host: &Host, number: usize) -> &'static str {
    let name = NAMES[number % NAMES.len()];
    let mut client = host.connect();
    match number % 7 {
        0 => return "left at the greeting",
        1 => client.send(&[b'x'; 3000]),
        2 => {
            client.ask(&format!("USER {name}"));
            client.ask("PASS wrong");
            return "was refused";
        }
        _ => {}
    }
    client.send(format!("USER {name}\r\nPASS {name}\r\n").as_bytes());
    let opened = std::iter::repeat_with(|| client.line()).find(|line| !line.contains("password?"));
    let opened = opened.unwrap();
    if opened.contains("[IN-USE]") || number % 7 == 1 {
        return "did not get in";
    }
    assert!(opened.starts_with("+OK 5 messages"), "{opened}");
    client.send(b"RETR 1\r\nLIST\r\nRETR 5\r\n");
    if number % 7 == 3 {
        return "left in a reply";
    }
    for expected in ["RETR 1", "LIST", "RETR 5"] {
        assert_ok(&client.line());
        assert!(!client.rest().is_empty(), "{expected}");
    }
    assert_ok(&client.ask("QUIT"));
    "quit"
}

#[test]
fn p8_many_clients_of_every_kind_leave_nothing_behind() {
    let users: Vec<_> = (64_401..)
        .zip(NAMES)
        .map(|(uid, name)| user(name, uid, &spool(5)))
        .collect();
    let host = Host::with(&users, "[limits]\nconnections_per_address = 1000\n", &[]);
    // One session beforehand, so that what the server makes only once is there.
    assert_ok(&host.login("ann").ask("QUIT"));
    until("no worker is left", || {
        host.children("popward-worker").is_empty()
    });
    let before = descriptors(&host);
    let end = Instant::now() + TIME;
    let counts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|first| {
                let host = &host;
                scope.spawn(move || {
                    let mut did = Vec::new();
                    for number in (first..).step_by(CLIENTS + 1) {
                        if Instant::now() >= end {
                            return did;
                        }
                        did.push(session(host, number));
                    }
                    did
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    for manner in [
        "left at the greeting",
        "was refused",
        "did not get in",
        "left in a reply",
        "quit",
    ] {
        assert!(counts.contains(&manner), "{manner}");
    }
    until("no worker is left", || {
        host.children("popward-worker").is_empty()
    });
    // The count before may include what the monitor held of the first session's worker. So the
    // count afterwards may be lower.
    until("descriptors are not more than before", || {
        let now = descriptors(&host);
        now.iter().zip(&before).all(|(now, before)| now <= before)
    });
    until("there are spools and nothing else", || {
        std::fs::read_dir(host.at("mail")).unwrap().count() == NAMES.len()
    });
    for name in NAMES {
        assert_eq!(host.bytes(name), spool(5));
    }
    for one in ["popward-front", "popward-auth", "popward-keys"] {
        assert_eq!(host.children(one).len(), 1);
    }
    assert!(!host.log().contains("died"));
}
