//! Measures promise P9 from a client's side, with the real processes. However a login fails, the
//! answer is the same text, and these samples cannot tell the times apart.
//!
//! The method:
//!
//! 1. Samples of all ways to fail are taken in one random order, so that other work on this host
//!    falls on all of them alike.
//! 2. Each way's times are compared with those of a wrong password, by the two-sample
//!    Kolmogorov-Smirnov test. Its statistic is the largest distance between the two cumulative
//!    distributions, from 0 to 1. It assumes nothing about how times are distributed.
//! 3. Equal ways exceed the threshold once in a million comparisons (`FALSE_ALARM`). A difference
//!    as large as the scatter of a single sample is always found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "a test may fail"
)]

mod host;
#[path = "quiet/statistics.rs"]
mod statistics;

use base64ct::{Base64, Encoding};
use host::{Client, Host, assert_ok, root, skipped, spool, user};
use statistics::{Samples, interleaved};
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many samples are taken of each way to fail.
const SAMPLES: usize = 60;

/// One measurement at a time, because two at once would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

/// How a login is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Pass,
    Plain,
    Login,
    Apop,
    CramMd5,
    /// The time is that of the answer to the proof.
    Scram,
}

/// Why the login fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WrongPassword,
    UnknownUser,
    /// No password fits the account's.
    Locked,
    /// The password is right, but the account may not log in because it is root's.
    NotAdmitted,
    /// A name that no account can have.
    ImpossibleName,
    EmptyPassword,
    /// A password longer than any that is taken.
    LongPassword,
    /// The account's line is malformed. Only the operator learns of it.
    BadLine,
    /// The account's hash is of a kind that this host cannot compute.
    BadHash,
}

use Kind::{
    BadHash, BadLine, EmptyPassword, ImpossibleName, Locked, LongPassword, NotAdmitted,
    UnknownUser, WrongPassword,
};

impl Kind {
    /// The name and the password. `turn` spreads the failures over eight accounts, because each
    /// account has a limit of its own.
    fn tried(self, turn: usize) -> (String, String) {
        let own = format!("user{}", turn % 8);
        match self {
            WrongPassword => (own, "wrong".to_owned()),
            UnknownUser => (format!("nobody{}", turn % 8), "wrong".to_owned()),
            Locked => (format!("locked{}", turn % 8), "wrong".to_owned()),
            NotAdmitted => (format!("root{}", turn % 8), "right".to_owned()),
            ImpossibleName => ("a/b".to_owned(), "wrong".to_owned()),
            EmptyPassword => (own, String::new()),
            LongPassword => (own, "x".repeat(700)),
            BadLine => (format!("line{}", turn % 8), "right".to_owned()),
            BadHash => (format!("hash{}", turn % 8), "right".to_owned()),
        }
    }
}

/// A host with this delay of failures. `stored` makes what the password file has for a password.
fn host(delay_ms: u32, mechanisms: &str, stored: &dyn Fn(&str) -> String) -> Host {
    let limits = "[limits]\nbad_commands = 100000\nfailed_logins = 100000\nlogin = \"1h\"\n";
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        limits,
        &[
            (
                "failure_delay = \"200ms\"",
                &format!("failure_delay = \"{delay_ms}ms\""),
            ),
            (
                "[auth]\n",
                &format!("[auth]\nmechanisms = {mechanisms}\naccount_failures = 60000\n"),
            ),
        ],
    );
    let right = stored("right");
    let mut lines = String::new();
    for number in 0..8 {
        lines += &format!("user{number}:{right}:64401:64401::/nonexistent\n");
        lines += &format!("locked{number}:{{CRYPT}}!locked:64401:64401::/nonexistent\n");
        lines += &format!("root{number}:{right}:0:0::/nonexistent\n");
        lines += &format!("line{number}:{right}:nobody:64401::/nonexistent\n");
        lines += &format!("hash{number}:{{CRYPT}}$99$salt$x:64401:64401::/nonexistent\n");
    }
    fs::write(host.at("users"), lines).unwrap();
    host
}

/// SHA512-CRYPT with so many rounds that hashing takes by far the longest.
fn hashed(password: &str) -> String {
    crypt(password, 25_000)
}

/// SHA512-CRYPT with so few rounds that the delay takes longest, however many checks run at once.
fn hashed_quickly(password: &str) -> String {
    crypt(password, 1_000)
}

fn crypt(password: &str, rounds: u32) -> String {
    let hash = perl(&format!(
        "crypt('{password}', '$6$rounds={rounds}$saltsaltsaltsalt$')"
    ));
    format!("{{SHA512-CRYPT}}{hash}")
}

/// What perl computes.
fn perl(expression: &str) -> String {
    let script = format!("print {expression}");
    let output = Command::new("perl").args(["-e", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn base64(text: &str) -> String {
    Base64::encode_string(text.as_bytes())
}

/// Tries to log in once. Returns how long the last answer took, and the answer.
fn fails(
    client: &mut Client,
    method: Method,
    (name, password): &(String, String),
) -> (Duration, String) {
    let last = match method {
        Method::Pass => {
            assert_ok(&client.ask(&format!("USER {name}")));
            format!("PASS {password}")
        }
        Method::Plain => format!("AUTH PLAIN {}", base64(&format!("\0{name}\0{password}"))),
        Method::Login => {
            let next = client.ask(&format!("AUTH LOGIN {}", base64(name)));
            assert_eq!(next, format!("+ {}", base64("Password:")));
            base64(password)
        }
        Method::Apop => format!("APOP {name} {}", "0".repeat(32)),
        Method::CramMd5 => {
            assert!(client.ask("AUTH CRAM-MD5").starts_with("+ "));
            base64(&format!("{name} {}", "0".repeat(32)))
        }
        Method::Scram => {
            let first = client.ask(&format!(
                "AUTH SCRAM-SHA-256 {}",
                base64(&format!("n,,n={name},r=abcdefgh"))
            ));
            let first =
                Base64::decode_vec(first.strip_prefix("+ ").expect("a challenge for everybody"))
                    .unwrap();
            let first = String::from_utf8(first).unwrap();
            let nonce = first.split(',').next().unwrap();
            base64(&format!(
                "c=biws,{nonce},p={}",
                Base64::encode_string(&[0; 32])
            ))
        }
    };
    let began = Instant::now();
    let answer = client.ask(&last);
    (began.elapsed(), answer)
}

/// Fails in all these ways, many times, over so many connections at once. Asserts that each way's
/// times are those of a wrong password, and that every answer is the same.
fn alike(host: &Host, ways: &[(Method, Kind)], connections: usize) {
    let order = interleaved(ways.len(), SAMPLES);
    let next = Mutex::new(order.iter().enumerate());
    let samples = Mutex::new(Samples::new(ways.len()));
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = Client::new(host.plain);
                assert_ok(&client.line());
                loop {
                    let taken = next.lock().unwrap().next();
                    let Some((turn, way)) = taken else {
                        return;
                    };
                    let (method, kind) = ways[*way];
                    let (took, answer) = fails(&mut client, method, &kind.tried(turn));
                    assert_eq!(
                        answer, "-ERR [AUTH] user name or password wrong",
                        "{method:?} {kind:?}"
                    );
                    samples.lock().unwrap().add(*way, took);
                }
            });
        }
    });
    let samples = samples.into_inner().unwrap();
    for (method, kind) in ways {
        let place = |kind: Kind| ways.iter().position(|way| *way == (*method, kind)).unwrap();
        let (distance, threshold) = samples.distance(place(WrongPassword), place(*kind));
        let times = samples.summary(place(WrongPassword), place(*kind));
        assert!(
            distance <= threshold,
            "{method:?}: {kind:?} is told from a wrong password: {distance:.3}, more than {threshold:.3}; {times}"
        );
    }
}

/// All combinations.
fn ways(methods: &[Method], kinds: &[Kind]) -> Vec<(Method, Kind)> {
    methods
        .iter()
        .flat_map(|method| kinds.iter().map(|kind| (*method, *kind)))
        .collect()
}

const ALL: &[Kind] = &[
    WrongPassword,
    UnknownUser,
    Locked,
    NotAdmitted,
    ImpossibleName,
    EmptyPassword,
    LongPassword,
    BadLine,
    BadHash,
];

/// With a delay that is longer than a check, as by default. Clients on several connections wait at
/// the same time.
#[test]
fn p9_with_the_delay_all_failures_look_alike() {
    if !root() {
        return skipped("accounts that may not log in");
    }
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let host = host(60, "[\"user\", \"plain\", \"login\"]", &hashed_quickly);
    alike(
        &host,
        &ways(&[Method::Pass, Method::Plain, Method::Login], ALL),
        6,
    );
}

/// Without the delay, which hides every shorter difference. The checks by themselves must take
/// equally long.
#[test]
fn p9_without_the_delay_all_failures_take_equally_long() {
    if !root() {
        return skipped("accounts that may not log in");
    }
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let host = host(0, "[\"user\", \"plain\", \"login\"]", &hashed);
    alike(&host, &ways(&[Method::Pass, Method::Plain], ALL), 1);
}

/// APOP, CRAM-MD5 and SCRAM, with the delay and without.
#[test]
fn p9_failures_of_apop_cram_md5_and_scram_look_alike() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let kinds = [
        WrongPassword,
        UnknownUser,
        Locked,
        ImpossibleName,
        BadLine,
        BadHash,
    ];
    let methods = [Method::Apop, Method::CramMd5, Method::Scram];
    for (delay_ms, connections) in [(40, 6), (0, 1)] {
        let mechanisms = "[\"apop\", \"cram-md5\", \"scram-sha-256\"]";
        let host = host(delay_ms, mechanisms, &|password| {
            format!("{{PLAIN}}{password}")
        });
        alike(&host, &ways(&methods, &kinds), connections);
    }
}

/// How much processor time the newest auth has used, whatever else this host does.
fn processor_time(host: &Host) -> Duration {
    let auth = *host.children("popward-auth").last().unwrap();
    let threads = fs::read_dir(format!("/proc/{auth}/task")).unwrap();
    let used = threads.map(|thread| {
        let used = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        let nanoseconds = used.split(' ').next().unwrap().parse().unwrap();
        Duration::from_nanos(nanoseconds)
    });
    used.sum()
}

/// How much processor time of auth a wrong password for this name takes.
fn cost(host: &Host, client: &mut Client, name: &str) -> Duration {
    let before = processor_time(host);
    fails(client, Method::Pass, &(name.to_owned(), "wrong".to_owned()));
    processor_time(host) - before
}

/// For each name, whether a wrong password costs about what it does for the user `costly`, and not
/// what it does for the user `cheap`.
fn like_costly(host: &Host, client: &mut Client, names: &[String]) -> Vec<bool> {
    let costly = cost(host, client, "costly");
    let cheap = cost(host, client, "cheap");
    assert!(
        costly > cheap * 9,
        "{costly:?} and {cheap:?}: nothing to see"
    );
    let costs = names.iter().map(|name| cost(host, client, name));
    costs.map(|cost| cost > costly / 3).collect()
}

/// One user's hash is cheap, the other's costs fifty times as much. An unknown name costs as much as
/// one of them, always the same one, also after a reload. So no cost tells that a user exists.
///
/// If the first line stood in for all names, no unknown name would be costly. Many guesses at once
/// would show who is, because a delay hides only what is shorter.
#[test]
fn p9_where_hashes_differ_in_cost_an_unknown_name_costs_what_some_user_does() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let host = host(0, "[\"user\"]", &hashed_quickly);
    let cheap = hashed_quickly("right");
    let costly = perl("crypt('right', '$2b$10$abcdefghijklmnopqrstuu')");
    let ids = "64401:64401::/nonexistent";
    let lines = format!("cheap:{cheap}:{ids}\ncostly:{{BLF-CRYPT}}{costly}:{ids}\n");
    fs::write(host.at("users"), lines).unwrap();
    let mut client = Client::new(host.plain);
    assert_ok(&client.line());
    // Each name is like one of the two with the same probability. All 24 are alike once in eight
    // million runs.
    let names: Vec<String> = (0..24).map(|number| format!("nobody{number}")).collect();
    let first = like_costly(&host, &mut client, &names);
    assert!(first.contains(&true), "no unknown name is costly");
    assert!(first.contains(&false), "each unknown name is costly");
    assert_eq!(like_costly(&host, &mut client, &names), first);
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    let mut client = host.connect();
    let after = like_costly(&host, &mut client, &names);
    assert_eq!(after, first, "after a reload");
}

/// SCRAM tells its salt and its number of rounds before anything is proved. A name must get the
/// same salt each time, whether or not the user exists, and no two names the same one.
#[test]
fn p9_scram_gives_every_name_a_salt_of_its_own_that_stays() {
    let mechanisms = "[\"scram-sha-256\"]";
    let host = host(1, mechanisms, &|password| format!("{{PLAIN}}{password}"));
    let mut client = Client::new(host.plain);
    assert_ok(&client.line());
    let mut asked = |name: &str| {
        let first = client.ask(&format!(
            "AUTH SCRAM-SHA-256 {}",
            base64(&format!("n,,n={name},r=abcdefgh"))
        ));
        assert!(client.ask("*").starts_with("-ERR"));
        let first = Base64::decode_vec(first.strip_prefix("+ ").expect("a challenge")).unwrap();
        let first = String::from_utf8(first).unwrap();
        let mut parts = first.split(',').skip(1).map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap())
    };
    let names = ["user0", "user1", "nobody0", "nobody1", "locked0"];
    let first: Vec<_> = names.iter().map(|name| asked(name)).collect();
    let again: Vec<_> = names.iter().map(|name| asked(name)).collect();
    assert_eq!(first, again);
    for (place, (salt, rounds)) in first.iter().enumerate() {
        assert_eq!(
            (salt.len(), rounds),
            (first[0].0.len(), &first[0].1),
            "{}",
            names[place]
        );
        assert!(
            first[..place].iter().all(|(other, _)| other != salt),
            "{}",
            names[place]
        );
    }
}
