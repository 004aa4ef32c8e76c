//! POP3 as a client sees it (RFC 1939, RFC 2449), with the real processes and the spools of several
//! users.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use base64ct::Encoding;
use host::{Client, Host, assert_err, assert_ok, retrieved, spool, spool_of, until, user};
use std::net::Shutdown;

fn two() -> [host::User; 2] {
    [
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(12)),
    ]
}

#[test]
fn every_command_answers_as_the_rfcs_say() {
    let host = Host::start(&two());
    let mut client = host.connect();
    assert!(client.multi("CAPA").contains("USER\n"));
    for early in ["STAT", "LIST", "RETR 1", "NOOP", "PASS alice", "DELE 1"] {
        assert_err(&client.ask(early));
    }
    assert_ok(&client.ask("user alice"));
    assert_ok(&client.ask("PaSs alice"));
    let total: usize = (1..=3).map(|n| octets(&retrieved(n))).sum();
    assert_eq!(client.ask("STAT"), format!("+OK 3 {total}"));
    let sizes: String = (1..=3)
        .map(|n| format!("{n} {}\n", octets(&retrieved(n))))
        .collect();
    assert_eq!(client.multi("LIST"), sizes);
    assert_eq!(
        client.ask("LIST 2"),
        format!("+OK 2 {}", octets(&retrieved(2)))
    );
    let ids = client.multi("UIDL");
    let second = ids.lines().nth(1).unwrap();
    assert_eq!(client.ask("UIDL 2"), format!("+OK {second}"));
    assert_eq!(client.multi("RETR 2"), retrieved(2));
    let whole = retrieved(2);
    let header = whole.find("\n\n").unwrap() + 2;
    assert_eq!(client.multi("TOP 2 0"), whole[..header]);
    assert_eq!(
        client.multi("TOP 2 2"),
        format!("{}Body of 2.\n.\n", &whole[..header])
    );
    assert_eq!(client.multi("TOP 2 4294967295"), whole);
    assert_ok(&client.ask("DELE 2"));
    for gone in ["RETR 2", "LIST 2", "UIDL 2", "TOP 2 1", "DELE 2"] {
        assert_err(&client.ask(gone));
    }
    assert!(!client.multi("LIST").contains("2 "));
    assert!(client.ask("STAT").starts_with("+OK 2 "));
    assert_ok(&client.ask("RSET"));
    assert_eq!(client.ask("STAT"), format!("+OK 3 {total}"));
    for bad in [
        "RETR",
        "RETR 0",
        "RETR 4",
        "RETR x",
        "RETR 1 2",
        "RETR 99999999999",
        "TOP 1",
        "DELE",
        "XYZZY",
        "",
        "NOOP x",
    ] {
        assert_err(&client.ask(bad));
    }
    assert_ok(&client.ask("NOOP"));
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(client.line(), "");
    assert_eq!(host.bytes("alice"), spool_of([2, 3]));
}

/// The octets on the wire. Each LF becomes CRLF.
fn octets(text: &str) -> usize {
    text.len() + text.matches('\n').count()
}

#[test]
fn p5_uidls_last_over_sessions_and_deletions() {
    let host = Host::start(&two());
    let ids = |host: &Host| -> Vec<String> {
        let mut client = host.login("bob");
        let list = client.multi("UIDL");
        assert_ok(&client.ask("QUIT"));
        list.lines()
            .map(|l| l.split_once(' ').unwrap().1.to_owned())
            .collect()
    };
    let before = ids(&host);
    let mut client = host.login("bob");
    assert_ok(&client.ask("DELE 3"));
    assert_ok(&client.ask("DELE 11"));
    assert_ok(&client.ask("QUIT"));
    let mut expected = before.clone();
    expected.remove(10);
    expected.remove(2);
    assert_eq!(ids(&host), expected);
}

#[test]
fn commands_may_arrive_in_any_pieces_and_any_number_at_once() {
    let host = Host::start(&two());
    let script = "CAPA\r\nUSER bob\r\nPASS bob\r\nSTAT\r\nLIST\r\nRETR 1\r\nUIDL\r\nTOP 12 1\r\nRETR 12\r\nNOOP\r\nQUIT\r\n";
    let mut pipelined = host.connect();
    pipelined.send(script.as_bytes());
    let whole = pipelined.until_end();
    assert!(whole.ends_with("+OK popward signing off\r\n"), "{whole}");
    assert_eq!(whole.matches("+OK").count(), 11, "{whole}");

    let mut slow = host.connect();
    for byte in script.as_bytes() {
        slow.send(&[*byte]);
    }
    assert_eq!(slow.until_end(), whole, "byte by byte");

    let mut bare = host.connect();
    bare.send(script.replace("\r\n", "\n").as_bytes());
    assert_eq!(bare.until_end(), whole, "lines ended LF");
}

#[test]
fn p8_a_line_without_an_end_takes_no_memory_and_is_one_error() {
    let host = Host::start(&two());
    let mut client = host.connect();
    let mut line = vec![b'A'; 1 << 20];
    line.extend_from_slice(b"\r\nCAPA\r\n");
    client.send(&line);
    assert_err(&client.line());
    assert_ok(&client.line());
}

#[test]
fn ten_thousand_bad_commands_end_one_connection_and_no_other() {
    let host = Host::start(&two());
    let mut other = host.login("bob");
    let mut client = host.connect();
    let stream = client.stream().try_clone().unwrap();
    // The server ends the connection long before it has read everything.
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        let _ = (&stream).write_all(&b"WRONG\r\n".repeat(10_000));
    });
    let answers = client.until_end();
    sender.join().unwrap();
    let errors = answers.matches("-ERR").count();
    assert!((1..100).contains(&errors), "{errors}");
    assert!(answers.ends_with("too many bad commands\r\n"), "{answers}");
    assert_ok(&other.ask("NOOP"));
    host.logged("why=\"too many bad commands\"");
}

#[test]
fn p7_a_client_that_disconnects_at_any_point_deletes_nothing_and_leaves_no_lock() {
    let host = Host::start(&two());
    let script = "USER alice\r\nPASS alice\r\nDELE 1\r\nRETR 2\r\nLIST\r\nQUI";
    let dotlock = host.at("mail/alice.lock");
    for length in (0..=script.len()).step_by(3) {
        let mut client = host.connect();
        client.send(&script.as_bytes()[..length]);
        if length % 2 == 0 {
            client.stream().shutdown(Shutdown::Write).unwrap();
            client.until_end();
        }
        drop(client);
    }
    until("the locks are free", || {
        host.children("popward-worker").is_empty() && !dotlock.exists()
    });
    assert_eq!(host.bytes("alice"), spool(3));
    let mut client = host.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 3 "));
}

#[test]
fn p9_a_refused_client_is_not_told_why() {
    let users = [user("alice", 64401, &spool(1)), user("root", 0, b"")];
    let host = Host::start(&users);
    let mut answers = Vec::new();
    // Without root, root's line has this process's user id, and that user may log in.
    let known = if host::root() {
        ("root", "root")
    } else {
        ("alice", "")
    };
    for (name, secret) in [
        ("alice", "Zq7-typed"),
        ("nobody", "x"),
        known,
        ("a/b", "x"),
        ("..", "x"),
    ] {
        let mut client = host.connect();
        assert_ok(&client.ask(&format!("USER {name}")));
        let start = std::time::Instant::now();
        answers.push(client.ask(&format!("PASS {secret}")));
        let took = start.elapsed().as_millis();
        assert!(took >= 190, "{name}: answered after {took} ms");
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert!(answers[0].starts_with("-ERR [AUTH]"));
    assert!(!host.log().contains("Zq7-typed"), "a secret in the log");
}

#[test]
fn p9_a_password_that_is_too_long_is_refused_as_a_wrong_one_and_the_log_says_why() {
    let host = Host::start(&two());
    let long = "p".repeat(513);
    let longer = "p".repeat(5000);
    let plain = base64ct::Base64::encode_string(format!("\0alice\0{long}").as_bytes());
    let mut answers = Vec::new();
    for commands in [
        ["USER alice".to_owned(), "PASS wrong".to_owned()],
        ["USER alice".to_owned(), format!("PASS {long}")],
        ["NOOP".to_owned(), format!("AUTH PLAIN {plain}")],
        ["USER alice".to_owned(), format!("PASS {longer}")],
    ] {
        let mut client = host.connect();
        client.ask(&commands[0]);
        let start = std::time::Instant::now();
        answers.push(client.ask(&commands[1]));
        let took = start.elapsed().as_millis();
        assert!(took >= 190, "answered after {took} ms");
    }
    assert!(answers[0].starts_with("-ERR [AUTH]"), "{answers:?}");
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let why = "user=alice peer=127.0.0.1 why=\"the password is longer than 512 octets\"";
    host.logged_times(why, 3);
    host.logged("line too long");
    assert!(!host.log().contains(&long), "a secret in the log");
}

/// Nobody asks for a password then, so the client hears that its line was wrong.
#[test]
fn the_log_says_that_a_line_before_a_login_is_too_long() {
    let host = Host::start(&two());
    for line in [
        format!("USER {}", "u".repeat(2000)),
        format!("AUTH PLAIN {}", "A".repeat(20_000)),
        format!("AUTH LOGIN\r\n{}", "A".repeat(20_000)),
        "x".repeat(20_000),
    ] {
        let mut client = host.connect();
        for _ in 0..2 {
            client.send(format!("{line}\r\n").as_bytes());
            let mut answer = client.line();
            if answer.starts_with('+') {
                answer = client.line();
            }
            assert!(answer.starts_with("-ERR line too long"), "{answer}");
        }
        assert_ok(&client.ask("USER alice"));
        assert_ok(&client.ask("PASS alice"));
        // One line for a connection, and none after the login.
        client.send(format!("{}\r\n", "x".repeat(2000)).as_bytes());
        assert!(client.line().starts_with("-ERR line too long"));
        assert_ok(&client.ask("QUIT"));
    }
    host.logged_times("why=quit", 4);
    let lines = host.log().matches("line too long session=").count();
    assert_eq!(lines, 4, "{}", host.log());
}

#[test]
fn a_dot_after_a_bare_cr_or_lf_ends_no_message() {
    let body = b"one\n.\ntwo\r.\rthree\r\n.\r\nfour\n\r.\n..\r\r.";
    let mail = [
        b"From a@b.example Mon Nov 23 10:00:01 2026\nSubject: dots\n\n",
        &body[..],
        b"\n\n",
    ];
    let host = Host::start(&[user("alice", 64401, &mail.concat())]);
    let mut client = host.connect();
    client.send(b"USER alice\r\nPASS alice\r\nRETR 1\r\nQUIT\r\n");
    let heard = client.until_end();
    // Each LF of the spool is the end of a line, and CRLF on the wire. A CR anywhere else is text.
    let sent = "one\r\n..\r\ntwo\r.\rthree\r\n..\r\nfour\r\n\r.\r\n...\r\r.\r\n.\r\n";
    assert!(heard.contains(&format!("\r\n\r\n{sent}+OK")), "{heard:?}");
}

#[test]
fn p5_a_new_message_in_an_emptied_maildrop_has_no_uidl_of_before() {
    let host = Host::start(&two());
    let ids = |client: &mut Client| -> Vec<String> {
        let list = client.multi("UIDL");
        let id = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        list.lines().map(id).collect()
    };
    let mut client = host.login("alice");
    let before = ids(&mut client);
    for number in 1..=3 {
        assert_ok(&client.ask(&format!("DELE {number}")));
    }
    assert_ok(&client.ask("QUIT"));
    assert_eq!(host.bytes("alice"), b"");
    std::fs::write(host.spool("alice"), spool_of([4, 5])).unwrap();
    let after = ids(&mut host.login("alice"));
    assert_eq!(after.len(), 2);
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_second_login_is_told_in_use_within_the_lock_timeout() {
    let host = Host::start(&two());
    let mut first = host.login("alice");
    let mut second = host.connect();
    assert_ok(&second.ask("USER alice"));
    let start = std::time::Instant::now();
    let answer = second.ask("PASS alice");
    assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    let took = start.elapsed();
    assert!(
        took >= std::time::Duration::from_secs(1) && took < host::PATIENCE,
        "{took:?}, with a lock_timeout of 2 s"
    );
    assert_ok(&first.ask("QUIT"));
    // `+OK` to QUIT means that the spool is free.
    host.login("alice");
}

#[test]
fn a_login_that_waits_for_a_lock_gets_it_when_it_is_free() {
    let host = Host::with(
        &two(),
        "",
        &[("lock_timeout = \"2s\"", "lock_timeout = \"30s\"")],
    );
    let mut first = host.login("alice");
    let mut second = host.connect();
    assert_ok(&second.ask("USER alice"));
    second.send(b"PASS alice\r\n");
    until("the second worker", || {
        host.children("popward-worker").len() == 2
    });
    assert_ok(&first.ask("DELE 1"));
    assert_ok(&first.ask("QUIT"));
    assert!(second.line().starts_with("+OK 2 messages"));
}

#[test]
fn a_missing_spool_is_an_empty_maildrop_and_is_not_created() {
    let mut users = two();
    users[0].spool = None;
    let host = Host::start(&users);
    let mut client = host.login("alice");
    assert_eq!(client.ask("STAT"), "+OK 0 0");
    assert_eq!(client.multi("LIST"), "");
    assert_ok(&client.ask("QUIT"));
    assert!(!host.spool("alice").exists());
}

#[test]
fn a_file_that_is_no_mbox_is_refused_and_unchanged() {
    let host = Host::start(&[user("alice", 64401, b"this is no mbox\n")]);
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    let answer = client.ask("PASS alice");
    assert!(answer.starts_with("-ERR [SYS/PERM]"), "{answer}");
    assert_eq!(host.bytes("alice"), b"this is no mbox\n");
    assert!(
        host.logged("maildrop not opened session=")
            .contains("user=alice")
    );
}

#[test]
fn p6_reading_changes_neither_bytes_nor_times() {
    use std::os::unix::fs::MetadataExt;
    let host = Host::start(&two());
    let times = || {
        let status = std::fs::metadata(host.spool("bob")).unwrap();
        (
            status.atime(),
            status.atime_nsec(),
            status.mtime_nsec(),
            status.ctime_nsec(),
        )
    };
    let before = times();
    let mut client = host.login("bob");
    for number in 1..=12 {
        client.multi(&format!("RETR {number}"));
    }
    assert_ok(&client.ask("QUIT"));
    assert_eq!(times(), before);
    assert_eq!(host.bytes("bob"), spool(12));
}

#[test]
fn the_last_log_line_of_a_session_says_what_was_sent_deleted_and_left() {
    let host = Host::start(&[user("alice", 64401, &spool(3))]);
    let octets = |number| {
        let text = retrieved(number);
        text.len() + text.matches('\n').count()
    };
    let mut client = Client::new(host.plain);
    // TOP is not counted as a retrieval, and what RSET took back is not deleted.
    client.send(
        b"USER alice\r\nPASS alice\r\nRETR 1\r\nRETR 2\r\nTOP 3 0\r\nDELE 1\r\nDELE 3\r\nRSET\r\nDELE 2\r\nQUIT\r\n",
    );
    let sent = client.until_end().len();
    let end = host.logged("] end session=");
    let expected = format!(
        " user=alice peer=127.0.0.1 retrieved=2 retrieved_octets={} sent_octets={sent} \
         deleted=1 deleted_octets={} left=2 left_octets={} seconds=",
        octets(1) + octets(2),
        octets(2),
        octets(1) + octets(3),
    );
    let seconds = end.split(&expected).nth(1).unwrap_or_default();
    let seconds = seconds.strip_suffix(" why=quit").unwrap_or_default();
    assert!(seconds.parse::<u8>().is_ok(), "{expected:?}: {end}");
    // Marked as deleted, but not deleted.
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    drop(client);
    let end = host.logged_times("] end session=", 2);
    let expected = format!(
        " deleted=0 deleted_octets=0 left=2 left_octets={} ",
        octets(1) + octets(3)
    );
    assert!(end.contains(&expected), "{expected:?}: {end}");
}
