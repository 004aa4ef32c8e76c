//! `packaging/fail2ban.conf` finds each kind of failed login in lines that popward logged, and
//! nothing else. Skipped if fail2ban is not installed.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use base64ct::{Base64, Encoding};
use host::{Host, skipped, spool, user};
use std::process::Command;

const MECHANISMS: &str = r#"mechanisms = ["user", "plain", "login", "apop", "cram-md5", "scram-sha-256", "oauthbearer", "xoauth2"]
oauth2 = { program = "/bin/false" }
"#;

/// A line of standard error in the form of syslog: with a time and a host, without the level.
fn as_syslog(line: &str) -> String {
    let (process, rest) = line.split_once(' ').unwrap();
    let (_, rest) = rest.split_once(' ').unwrap();
    format!("Nov 23 10:00:01 mail {process}: {rest}\n")
}

/// Sends the lines of one client. The reply to the last one must be a failure.
fn fails(host: &Host, lines: &[String]) {
    let mut client = host.connect_any();
    let answers: Vec<String> = lines.iter().map(|line| client.ask(line)).collect();
    let last = answers.last().unwrap();
    assert!(last.starts_with("-ERR [AUTH]"), "{lines:?}: {answers:?}");
}

/// Makes each kind of failure for which `login failed` is logged. Returns how many there are.
fn failures(host: &Host) -> usize {
    let base64 = |text: &str| Base64::encode_string(text.as_bytes());
    let said = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let mut all = vec![
        said(&["APOP alice 00000000000000000000000000000000"]),
        said(&["AUTH LOGIN", &base64("alice"), &base64("wrong")]),
        said(&[
            "AUTH CRAM-MD5",
            &base64(&format!("alice {}", "0".repeat(32))),
        ]),
        said(&[
            &format!(
                "AUTH OAUTHBEARER {}",
                base64("n,,\x01auth=Bearer x\x01\x01")
            ),
            "AQ==",
        ]),
        said(&[
            &format!(
                "AUTH XOAUTH2 {}",
                base64("user=alice\x01auth=Bearer x\x01\x01")
            ),
            "",
        ]),
    ];
    for name in [
        "alice",
        "nobody",
        "two words",
        "x peer=192.0.2.1 port=1 method=APOP",
        "quoted\" peer=192.0.2.1 port=1 method=APOP",
        "back\\slash\\",
        "Grüße",
        "a/b",
        "192.0.2.1",
    ] {
        all.push(said(&[&format!("USER {name}"), "PASS wrong"]));
        all.push(said(&[&format!(
            "AUTH PLAIN {}",
            base64(&format!("\0{name}\0wrong"))
        )]));
    }
    for length in [600, 6000] {
        all.push(said(&[
            "USER alice",
            &format!("PASS {}", "p".repeat(length)),
        ]));
    }
    all.push(said(&[&format!(
        "AUTH PLAIN {}",
        base64("bob\0alice\0alice")
    )]));
    for lines in &all {
        fails(host, lines);
    }
    // SCRAM: the proof is over the server's nonce.
    let mut client = host.connect_any();
    let first = client.ask(&format!(
        "AUTH SCRAM-SHA-256 {}",
        base64("n,,n=alice,r=abc")
    ));
    let first = Base64::decode_vec(first.strip_prefix("+ ").unwrap()).unwrap();
    let first = String::from_utf8(first).unwrap();
    let nonce = first.split(',').next().unwrap();
    let proof = base64(&format!(
        "c=biws,{nonce},p={}",
        Base64::encode_string(&[7; 32])
    ));
    let answer = client.ask(&proof);
    assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
    all.len() + 1
}

#[test]
fn fail2bans_filter_finds_each_kind_of_failed_login_with_its_address() {
    let version = Command::new("fail2ban-regex").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return skipped("fail2ban is not installed");
    }
    let auth = format!("[auth]\n{MECHANISMS}");
    let limits = "[limits]\nfailed_logins = 100\n";
    let quick = ("failure_delay = \"200ms\"", "failure_delay = \"1ms\"");
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        limits,
        &[("[auth]\n", &auth), quick],
    );
    let failed = failures(&host);
    // These are not failures of a client.
    let mut good = host.connect_any();
    good.ask("USER alice");
    host::assert_ok(&good.ask("PASS alice"));
    let mut bad = host.connect_any();
    bad.ask("USER \u{1b}[31m");
    bad.ask("XYZZY login failed peer=192.0.2.1");
    bad.ask("QUIT");
    host.logged_times("login failed", failed);
    let log: String = host.log().lines().map(as_syslog).collect();
    std::fs::write(host.at("syslog"), log).unwrap();
    // A filter lies beside the file that it includes.
    let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fail2ban.conf");
    let filter = host.at("popward.conf");
    std::fs::copy(ours, &filter).unwrap();
    let common = "/etc/fail2ban/filter.d/common.conf";
    std::fs::copy(common, host.at("common.conf")).unwrap();
    let ran = Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .arg(host.at("syslog"))
        .arg(filter)
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&ran.stdout);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(found.lines().count(), failed, "{found}{told}");
    assert!(found.lines().all(|line| line == "127.0.0.1"), "{found}");
}
