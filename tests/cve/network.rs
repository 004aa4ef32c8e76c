//! Bytes of clients.

use super::host::wire::{Security, Wire, config};
use super::host::{Client, Host, assert_err, assert_ok, message, spool, until, user};
use super::process::Process;
use std::net::Shutdown;
use std::time::Duration;

fn host() -> Host {
    Host::with(
        &[user("alice", 64401, &spool(3))],
        "[limits]\nbad_commands = 1000\nfailed_logins = 1000\n",
        &[("failure_delay = \"200ms\"", "failure_delay = \"1ms\"")],
    )
}

/// Commands. The test gives each an argument of each length.
const COMMANDS: [&str; 18] = [
    "USER",
    "PASS",
    "APOP alice",
    "AUTH",
    "AUTH PLAIN",
    "AUTH LOGIN",
    "RPOP",
    "XTND",
    "XTND XMIT",
    "LIST",
    "RETR",
    "DELE",
    "TOP 1",
    "UIDL",
    "EUIDL",
    "STAT",
    "MDEF",
    "CAPA",
];

/// Qpopper wrote lines into buffers of a fixed size: any command before login, the arguments of
/// AUTH and LIST, and names.
#[test]
fn a_line_of_any_length_gets_one_answer() {
    let host = host();
    let front = Process::only(&host, "popward-front");
    for logged_in in [false, true] {
        for length in [64, 256, 1022, 1023, 1024, 1025, 4096, 65_536, 1 << 20] {
            let mut client = if logged_in {
                host.login("alice")
            } else {
                host.connect()
            };
            for command in COMMANDS {
                client.send(command.as_bytes());
                client.send(b" ");
                client.send(&vec![b'A'; length]);
                client.send(b"\r\n");
                let answer = client.line();
                // USER is accepted at any length, because its answer must not tell whether the user
                // exists.
                let fine = command == "USER" && length < 1022 && !logged_in;
                assert_eq!(
                    answer.starts_with("+OK"),
                    fine,
                    "{command} {length}: {answer}"
                );
                assert!(answer.len() < 512, "{command} {length}");
                if command == "AUTH PLAIN" && answer.starts_with("+ ") {
                    panic!("{answer}");
                }
            }
            assert_ok(&client.ask("CAPA"));
            client.rest();
            assert_ok(&client.ask("QUIT"));
        }
    }
    front.has_used_at_most(4096, Duration::from_secs(20), "long lines");
}

/// Qpopper 4.0.3 looped for ever over a line without end.
#[test]
fn a_line_without_an_end_costs_little() {
    let host = host();
    let front = Process::only(&host, "popward-front");
    let noise = vec![b'A'; 16 << 20];
    for logged_in in [false, true] {
        let mut client = if logged_in {
            host.login("alice")
        } else {
            host.connect()
        };
        client.send(&noise);
        client.stream().shutdown(Shutdown::Write).unwrap();
        client.until_end();
    }
    until("the sessions end", || {
        host.children("popward-worker").is_empty()
    });
    front.has_used_at_most(4096, Duration::from_secs(2), "32 MiB without a line's end");
    assert_ok(&host.login("alice").ask("QUIT"));
}

/// Courier used PASS as a format string, and other servers used names. Dovecot expanded variables
/// in names, and took a tab in a password for its end.
#[test]
fn names_and_passwords_are_never_interpreted() {
    let host = host();
    let auth = Process::only(&host, "popward-auth");
    let texts = [
        "%n%n%n%n",
        "%s%s%s%s%s%s",
        "%u%{user}%d",
        "{user}",
        "{home}",
        "${HOME}",
        "$(id)",
        "`id`",
        ";id",
        "a|b",
        "..",
        "../alice",
        "alice/../root",
        "alice\\",
        "*",
        "alice%00",
        "\u{1b}[31malice",
    ];
    let mut refused = Vec::new();
    for text in texts {
        let mut client = host.connect();
        assert_ok(&client.ask(&format!("USER {text}")));
        refused.push(client.ask(&format!("PASS {text}")));
        assert_ok(&client.ask("USER alice"));
        refused.push(client.ask(&format!("PASS {text}")));
        assert_ok(&client.ask("USER alice"));
        refused.push(client.ask("PASS x\tmaster_user=root\tskip_password_check=1\tuser=alice"));
    }
    assert!(
        refused
            .iter()
            .all(|answer| *answer == "-ERR [AUTH] user name or password wrong"),
        "{refused:?}"
    );
    auth.has_used_at_most(4096, Duration::from_secs(10), "names");
    let log = host.log();
    assert!(log.contains("%n%n%n%n"), "as it was typed");
    assert!(
        log.lines()
            .all(|line| line.starts_with("popward[") && !line.contains('\u{1b}')),
        "{log}"
    );
}

/// A name must make neither a line of the log nor a field of its own. Qpopper logged names as they
/// came.
#[test]
fn a_name_cannot_forge_a_log_line() {
    let host = host();
    for name in [
        "alice\rpopward[1] notice login user=root",
        "x\" uid=\"0",
        "alice\u{85}b",
        "a\u{2028}b",
        "\u{202e}ecila",
    ] {
        let mut client = host.connect();
        assert_ok(&client.ask(&format!("USER {name}")));
        assert_err(&client.ask("PASS x"));
        assert_ok(&client.ask("QUIT"));
    }
    host.logged_times("why=\"quit before login\"", 5);
    let log = host.log();
    for line in log.lines() {
        assert!(line.starts_with("popward["), "{line:?}");
        assert!(
            !line.contains("uid=0") && !line.contains("user=root"),
            "{line:?}"
        );
        assert!(
            !line
                .chars()
                .any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)),
            "{line:?}"
        );
    }
}

/// STARTTLS injection: commands that somebody in the middle puts behind STLS must not run inside of
/// TLS.
#[test]
fn bytes_in_the_clear_behind_stls_are_dropped() {
    let host = host();
    let behind = [
        "USER alice\r\nPASS alice\r\n",
        "USER alice\r\n",
        "AUTH PLAIN AGFsaWNlAGFsaWNl\r\n",
        "CAPA\r\nNOOP\r\nQUIT\r\n",
        "USER ali",
    ];
    for injected in behind {
        let (mut wire, _) = Wire::connect(&host, &config(&host), Security::Clear);
        wire.send(format!("STLS\r\n{injected}").as_bytes());
        assert!(wire.line().unwrap().starts_with("+OK"));
        // This asserts that nothing else was answered in the clear.
        wire.secure();
        wire.send(b"XYZZY\r\nPASS alice\r\nSTAT\r\nQUIT\r\n");
        assert_eq!(wire.line().unwrap(), "-ERR unknown command", "{injected:?}");
        assert_eq!(wire.line().unwrap(), "-ERR USER first", "{injected:?}");
        assert_eq!(
            wire.line().unwrap(),
            "-ERR not before a login",
            "{injected:?}"
        );
        assert!(wire.line().unwrap().starts_with("+OK"));
        assert_eq!(wire.line(), None);
    }
    assert!(!host.log().contains("login session="), "{}", host.log());
}

/// An empty message ended Dovecot's RPA.
#[test]
fn empty_sasl_messages_are_refused_and_auth_lives_on() {
    let all = "[\"user\", \"plain\", \"login\", \"cram-md5\", \"apop\", \"scram-sha-1\", \"scram-sha-256\"]";
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        "[limits]\nbad_commands = 1000\nfailed_logins = 1000\n",
        &[
            ("failure_delay = \"200ms\"", "failure_delay = \"1ms\""),
            ("[auth]\n", &format!("[auth]\nmechanisms = {all}\n")),
        ],
    );
    let auth = Process::only(&host, "popward-auth");
    let mut client = Client::new(host.plain);
    assert_ok(&client.line());
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        for first in ["", " =", " AA==", " AAAA"] {
            let mut answer = client.ask(&format!("AUTH {mechanism}{first}"));
            let mut turns = 0;
            while answer.starts_with("+ ") {
                answer = client.ask("");
                turns += 1;
                assert!(turns < 4, "{mechanism}{first}");
            }
            assert_err(&answer);
        }
    }
    auth.has_used_at_most(4096, Duration::from_secs(5), "empty messages");
    assert_ok(&client.ask("USER alice"));
    assert_ok(&client.ask("PASS alice"));
}

/// Dovecot leaked memory with each login that was abandoned.
#[test]
fn abandoned_logins_leak_no_memory() {
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        "[limits]\nbad_commands = 100000\nfailed_logins = 100000\n",
        &[
            ("failure_delay = \"200ms\"", "failure_delay = \"1ms\""),
            (
                "[auth]\n",
                "[auth]\nmechanisms = [\"user\", \"plain\", \"login\", \"scram-sha-256\"]\n",
            ),
        ],
    );
    let abort = |times: usize| {
        let mut client = Client::new(host.plain);
        assert_ok(&client.line());
        for _ in 0..times {
            for begin in [
                "AUTH PLAIN",
                "AUTH LOGIN YWxpY2U=",
                "AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiY2RlZmdoaWprbG1ub3A=",
            ] {
                let answer = client.ask(begin);
                if answer.starts_with("+ ") {
                    assert_err(&client.ask("*"));
                } else {
                    assert_err(&answer);
                }
            }
        }
        assert_ok(&client.ask("QUIT"));
        // And a client that goes away in the middle of a login, without a word.
        let mut client = Client::new(host.plain);
        assert_ok(&client.line());
        client.send(b"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiY2RlZmdoaWprbG1ub3A=\r\n");
    };
    // The first round makes what is made only once.
    abort(50);
    let (auth, front) = (
        Process::only(&host, "popward-auth"),
        Process::only(&host, "popward-front"),
    );
    abort(1000);
    auth.has_used_at_most(512, Duration::from_secs(20), "3,000 logins given up");
    front.has_used_at_most(512, Duration::from_secs(20), "3,000 logins given up");
}

/// Stalled handshakes took all of Dovecot's slots.
#[test]
fn stalled_handshakes_keep_nobody_out() {
    let host = Host::with(
        &[user("alice", 64401, &spool(1))],
        "[limits]\nconnections_per_address = 1000\n",
        &[],
    );
    let still: Vec<Client> = (0..300)
        .map(|number| {
            let mut client = Client::new(host.tls);
            client.send(&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..number % 12]);
            client
        })
        .collect();
    let (mut wire, greeting) = Wire::connect(&host, &config(&host), Security::Implicit);
    assert!(greeting.starts_with("+OK"));
    wire.send(b"USER alice\r\nPASS alice\r\nQUIT\r\n");
    assert_eq!(
        (0..3)
            .filter(|_| wire.line().unwrap().starts_with("+OK"))
            .count(),
        3
    );
    drop(still);
}

/// A number that is taken for another one would delete or show another message. popa3d's author
/// found servers that took `LIST 4294967297` for `LIST 1`.
#[test]
fn a_number_is_never_taken_for_another() {
    let host = Host::start(&[user("alice", 64401, message(1, "one").as_bytes())]);
    let mut client = host.login("alice");
    let wrapped = [
        1i128 << 8,
        1 << 16,
        1 << 31,
        1 << 32,
        1 << 53,
        1 << 63,
        1 << 64,
    ]
    .map(|power| power + 1);
    let numbers = wrapped.map(|number| number.to_string());
    let odd = [
        "-1",
        "+1",
        "1.0",
        "1e0",
        "0x1",
        "01x",
        "1,",
        "one",
        "1\u{0}",
        "\u{ff11}",
        "-4294967295",
        "%d",
        "1;1",
    ];
    let mut asked = 0;
    for number in numbers.iter().map(String::as_str).chain(odd) {
        for command in ["LIST", "UIDL", "RETR", "DELE", "TOP"] {
            let lines = if command == "TOP" { " 0" } else { "" };
            let answer = client.ask(&format!("{command} {number}{lines}"));
            assert!(answer.starts_with("-ERR"), "{command} {number}: {answer}");
            asked += 1;
            if asked % 15 == 0 {
                // A new session, before the limit of bad commands.
                assert_ok(&client.ask("QUIT"));
                client = host.login("alice");
            }
        }
    }
    assert_ok(&client.ask("LIST 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(host.bytes("alice"), message(1, "one").as_bytes());
}
