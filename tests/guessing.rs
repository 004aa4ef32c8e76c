//! Guessing passwords: what it costs, what it cannot find out, and how little a flood of guesses
//! adds to the log.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use base64ct::{Base64, Encoding};
use host::{Client, Host, assert_ok, root, spool, until, user};
use std::fs;
use std::process::Command;
use std::time::Instant;

const ALL: &str = r#"mechanisms = ["user", "plain", "cram-md5", "scram-sha-256"]"#;

/// The output of `doveadm pw -s SCRAM-SHA-256 -p secret`.
const SCRAM_256: &str = "{SCRAM-SHA-256}4096,RYbLseT/8RCCOcCClX/ptg==,s4LmKvpwzMwlffAZZO+sACsWtM5cgxtOLq2qdO/y8iE=,PJntRmSR/cE5Xc2KK5davJN13tK9cod/WPAflm2gZxw=";

const WRONG: &str = "-ERR [AUTH] user name or password wrong";

/// A host with the user `alice`, whose password is `a`. The two texts are lines of `[auth]` and of
/// `[limits]`.
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

/// The fields behind the secret, with ids of their own under root, otherwise with this process's
/// ids.
fn ids() -> String {
    if root() {
        return "64401:64401::/nonexistent".to_owned();
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    format!("{uid}:{gid}::/nonexistent")
}

/// A hash so slow that checks which begin together also run together.
fn slow(password: &str) -> String {
    let script = format!("print crypt('{password}', '$6$rounds=40000$saltsaltsaltsalt$')");
    let output = Command::new("perl").args(["-e", &script]).output().unwrap();
    format!("{{CRYPT}}{}", String::from_utf8(output.stdout).unwrap())
}

/// Sends this password from so many clients at the same time. Returns what each is answered.
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

/// How many log lines have this text, once auth has written all its lines.
fn lines(host: &Host, text: &str) -> usize {
    let marker = format!("marker{}", host.log().len());
    assert_eq!(pass(host, &marker, "x"), WRONG);
    host.logged(&format!("user={marker} peer=127.0.0.1 why="));
    host.log().matches(text).count()
}

/// As [`Host::assert_rate_limited`], once auth has written all its lines.
#[track_caller]
fn assert_rate_limited(host: &Host, text: &str, causes: usize) {
    lines(host, text);
    host.assert_rate_limited(text, causes);
}

#[test]
fn simultaneous_guesses_are_checked_only_up_to_the_failure_limit() {
    let host = host(
        "source_failures = 0\naccount_failures = 4\naccount_window = \"3600s\"",
        "",
    );
    let answers = at_once(&host, 50, "alice", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "why=\"wrong password\""), 4);
    assert_rate_limited(&host, "too many failures: nothing is checked", 1);
    assert_eq!(
        pass(&host, "alice", "a"),
        WRONG,
        "nothing is checked for alice now"
    );
    // The same holds for a user who does not exist.
    let answers = at_once(&host, 20, "nobody", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_eq!(lines(&host, "user=nobody peer=127.0.0.1 why="), 4);
}

#[test]
fn simultaneous_logins_with_the_right_password_do_not_count_as_failures() {
    let host = host("account_failures = 1\naccount_window = \"3600s\"", "");
    // Only one session can have the spool's locks.
    let answers = at_once(&host, 6, "alice", "a");
    let opened = answers.iter().filter(|answer| answer.starts_with("+OK"));
    assert_eq!(opened.count(), 1, "{answers:?}");
    let in_use = answers
        .iter()
        .filter(|answer| answer.starts_with("-ERR [IN-USE]"));
    assert_eq!(in_use.count(), 5, "{answers:?}");
}

#[test]
fn p8_a_source_that_must_wait_is_logged_once_and_not_for_each_login() {
    let auth =
        "source_exempt = []\nsource_failures = 2\nsource_wait_max = \"1s\"\naccount_failures = 0";
    let host = host(auth, "");
    for _ in 0..2 {
        assert_eq!(pass(&host, "alice", "b"), WRONG);
    }
    assert_rate_limited(&host, "a source waits", 1);
    let answers = at_once(&host, 30, "alice", "b");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_rate_limited(&host, "a source waits", 1);
    assert!(host.logged("a source waits").ends_with("times=1"));
}

#[test]
fn p8_each_cause_why_logins_cannot_be_checked_is_logged_once() {
    let host = host("source_failures = 0\naccount_failures = 0", "");
    let good = fs::read_to_string(host.at("users")).unwrap();
    fs::rename(host.at("users"), host.at("away")).unwrap();
    for answer in at_once(&host, 30, "alice", "a") {
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    }
    fs::rename(host.at("away"), host.at("users")).unwrap();
    assert_rate_limited(&host, "cannot check", 1);
    // Another cause is another line. The client must not learn of it (P9).
    users(&host, &good.replace(&ids(), "root:1"));
    let answers = at_once(&host, 30, "alice", "a");
    assert!(answers.iter().all(|answer| answer == WRONG), "{answers:?}");
    assert_rate_limited(&host, "cannot check", 2);
    host.logged("users: line 1: expected a user id");
}

#[test]
fn p8_logins_without_a_worker_or_too_soon_are_logged_once() {
    let delay = "source_failures = 0\nlogin_delay = \"3600s\"";
    let host = host(delay, "sessions_per_user = 1");
    assert_ok(&pass(&host, "alice", "a"));
    for answer in at_once(&host, 20, "alice", "a") {
        assert!(answer.starts_with("-ERR [LOGIN-DELAY]"), "{answer}");
    }
    assert_rate_limited(&host, "why=auth.login_delay", 1);
    let config = fs::read_to_string(host.at("popward.toml")).unwrap();
    fs::write(
        host.at("popward.toml"),
        config.replace("login_delay = \"3600s\"", ""),
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
    assert_rate_limited(&host, "as many sessions as a user may have", 1);
}

/// How long a failed login takes, in milliseconds.
fn failure(host: &Host, mechanism: &str, user: &str, secret: &str) -> f64 {
    let mut client = Client::new(host.plain);
    assert_ok(&client.line());
    let start;
    let answer = match mechanism {
        "USER" => {
            assert_ok(&client.ask(&format!("USER {user}")));
            start = Instant::now();
            client.ask(&format!("PASS {secret}"))
        }
        "PLAIN" => {
            let response = Base64::encode_string(format!("\0{user}\0{secret}").as_bytes());
            start = Instant::now();
            client.ask(&format!("AUTH PLAIN {response}"))
        }
        "CRAM-MD5" => {
            assert!(client.ask("AUTH CRAM-MD5").starts_with("+ "));
            let response = Base64::encode_string(format!("{user} {}", "0".repeat(32)).as_bytes());
            start = Instant::now();
            client.ask(&response)
        }
        _ => {
            let first = Base64::encode_string(format!("n,,n={user},r=abcdefgh").as_bytes());
            let answer = client.ask(&format!("AUTH SCRAM-SHA-256 {first}"));
            let server = Base64::decode_vec(answer.strip_prefix("+ ").unwrap()).unwrap();
            let server = String::from_utf8(server).unwrap();
            let nonce = server.split(',').next().unwrap();
            let proof = Base64::encode_string(&[7; 32]);
            let last = Base64::encode_string(format!("c=biws,{nonce},p={proof}").as_bytes());
            start = Instant::now();
            client.ask(&last)
        }
    };
    let took = start.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(answer, WRONG, "{mechanism} {user}");
    took
}

/// The rank sum test of Mann and Whitney: how many standard deviations lie between two samples.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let less: f64 = one
        .iter()
        .flat_map(|a| other.iter().map(move |b| if a < b { 1.0 } else { 0.0 }))
        .sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    (less - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// An ordinary hash. Checking it takes time that must not show.
const HASH: &str = "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";

#[test]
fn p9_failures_of_all_kinds_take_the_same_time() {
    let ids = "64421:64421::/nonexistent";
    let lines = format!(
        "alice:{HASH}:{ids}\nbob:{SCRAM_256}:{ids}\ncarol:{{PLAIN}}secret:{ids}\ndave:!:{ids}\nerin:{HASH}:{ids}::nologin\nfrank:{HASH}:0:0::\n"
    );
    if !root() {
        return host::skipped("accounts of several ids: it takes root");
    }
    let host = host(ALL, "");
    users(&host, &lines);
    let kinds = [
        ("nobody", "secret"),
        ("alice", "wrong"),
        ("bob", "wrong"),
        ("carol", "wrong"),
        ("dave", "secret"),
        ("erin", "secret"),
        ("frank", "secret"),
    ];
    for mechanism in ["USER", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
        let differs = |samples: &[Vec<f64>]| {
            let place = |times: &Vec<f64>| apart(&samples[0], times).abs() >= 4.0;
            samples.iter().position(place)
        };
        // A difference by chance goes away with more samples. A real difference stays.
        for _ in 0..4 {
            for (samples, more) in samples.iter_mut().zip(tried(&host, mechanism, &kinds)) {
                samples.extend(more);
            }
            if differs(&samples).is_none() {
                break;
            }
        }
        for (kind, times) in kinds.iter().zip(&samples) {
            assert!(
                times.iter().all(|time| *time >= 200.0),
                "{mechanism} {kind:?}: {times:?}"
            );
        }
        if let Some(kind) = differs(&samples) {
            panic!(
                "{mechanism} {:?}: {} deviations: {:?} {:?}",
                kinds[kind],
                apart(&samples[0], &samples[kind]),
                samples[kind],
                samples[0]
            );
        }
    }
}

/// How long failures of each kind take. All kinds run at once and many times, so that a disturbance
/// hits all of them. Each thread tries one kind after the other, because the first thread may
/// always be served first.
fn tried(host: &Host, mechanism: &str, kinds: &[(&str, &str)]) -> Vec<Vec<f64>> {
    const ROUNDS: usize = 12;
    let mut samples = vec![Vec::new(); kinds.len()];
    std::thread::scope(|scope| {
        let one = |thread: usize| {
            let tries = (0..ROUNDS).map(move |round| {
                let kind = (round + thread) % kinds.len();
                let (user, secret) = kinds[kind];
                (kind, failure(host, mechanism, user, secret))
            });
            scope.spawn(move || tries.collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..kinds.len()).map(one).collect();
        for (kind, took) in threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
        {
            samples[kind].push(took);
        }
    });
    samples
}
