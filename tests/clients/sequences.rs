//! Clients that cannot run here. The tests send their commands, in their order and in their pieces.

use super::host::wire::{Security, Wire, config};
use super::host::{Host, retrieved, spool, spool_of, user};

/// Sends one line and returns the first line of its reply.
fn ask(wire: &mut Wire, line: &str) -> String {
    wire.send(format!("{line}\r\n").as_bytes());
    wire.line().unwrap()
}

/// The lines up to the dot, unstuffed.
fn rest(wire: &mut Wire) -> String {
    let mut text = String::new();
    loop {
        let line = wire.line().unwrap();
        if line == "." {
            return text;
        }
        text += line.strip_prefix('.').unwrap_or(&line);
        text.push('\n');
    }
}

fn multi(wire: &mut Wire, line: &str) -> String {
    let reply = ask(wire, line);
    assert!(reply.starts_with("+OK"), "{line}: {reply}");
    rest(wire)
}

/// Thunderbird sends AUTH alone, CAPA, STLS if configured, and then the best mechanism. Then STAT,
/// LIST and UIDL; if UIDL is not understood, XTND XLST Message-Id and TOP of each. Then RETR and
/// DELE of each new message, and QUIT. nsPop3Protocol waits for each reply. Only DELEs are
/// pipelined, if CAPA has PIPELINING.
fn thunderbird(host: &Host, security: Security) {
    let (mut wire, greeting) = Wire::connect(host, &config(host), security);
    assert!(greeting.starts_with("+OK"));
    let offered = multi(&mut wire, "AUTH");
    assert!(offered.lines().any(|name| name == "PLAIN"), "{offered}");
    let capabilities = multi(&mut wire, "CAPA");
    for needed in ["TOP", "UIDL", "PIPELINING", "SASL PLAIN LOGIN"] {
        assert!(
            capabilities.lines().any(|line| line == needed),
            "{needed}: {capabilities}"
        );
    }
    let challenge = ask(&mut wire, "AUTH PLAIN");
    assert_eq!(challenge, "+ ");
    let reply = ask(&mut wire, "AGFsaWNlAGFsaWNl");
    assert!(reply.starts_with("+OK"), "{reply}");
    assert!(ask(&mut wire, "STAT").starts_with("+OK 5 "));
    let sizes = multi(&mut wire, "LIST");
    let ids = multi(&mut wire, "UIDL");
    assert_eq!((sizes.lines().count(), ids.lines().count()), (5, 5));
    // Thunderbird sends this if there is no UIDL. A refusal must be one line, or Thunderbird waits
    // for a dot.
    let reply = ask(&mut wire, "XTND XLST Message-Id");
    assert!(reply.starts_with("-ERR"), "{reply}");
    let top = multi(&mut wire, "TOP 1 1");
    assert!(top.starts_with("From: <sender1@example.org>\n"), "{top}");
    for number in 1..=4 {
        assert_eq!(
            multi(&mut wire, &format!("RETR {number}")),
            retrieved(number)
        );
    }
    wire.send(b"DELE 1\r\nDELE 2\r\nDELE 3\r\nDELE 4\r\n");
    for number in 1..=4 {
        let reply = wire.line().unwrap();
        assert!(reply.starts_with("+OK"), "DELE {number}: {reply}");
    }
    assert!(ask(&mut wire, "QUIT").starts_with("+OK"));
    assert_eq!(wire.line(), None);
}

#[test]
fn thunderbirds_commands_work_on_each_kind_of_connection() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    for security in [Security::Clear, Security::Implicit, Security::Stls] {
        std::fs::write(host.spool("alice"), spool(5)).unwrap();
        thunderbird(&host, security);
        assert_eq!(host.bytes("alice"), spool_of([5]), "{security:?}");
    }
}

/// Outlook sends `AUTH` in search of NTLM, a probe in lower case, USER and PASS. It sends each
/// command in two segments, the line end by itself.
#[test]
fn commands_that_outlook_splits_are_understood() {
    let host = Host::start(&[user("alice", 64401, &spool(2))]);
    let (mut wire, _) = Wire::connect(&host, &config(&host), Security::Implicit);
    let mut split = |line: &str| {
        wire.send(line.as_bytes());
        wire.send(b"\r\n");
        wire.line().unwrap()
    };
    assert!(split("AUTH NTLM").starts_with("-ERR"));
    assert!(split("user alice").starts_with("+OK"));
    assert!(split("pass alice").starts_with("+OK"));
    assert!(split("stat").starts_with("+OK 2 "));
    assert!(split("DELE 1").starts_with("+OK"));
    assert!(split("QUIT").starts_with("+OK"));
    assert_eq!(host.bytes("alice"), spool_of([2]));
}

/// Eudora: lower case, and XTND XMIT, by which it would send mail. What is not served is refused in
/// one line.
#[test]
fn eudoras_xtnd_xmit_is_refused_in_one_line() {
    let users = [user("alice", 64401, &spool(2))];
    let host = Host::with(&users, "", &[]);
    let (mut wire, _) = Wire::connect(&host, &config(&host), Security::Clear);
    assert!(ask(&mut wire, "user alice").starts_with("+OK"));
    assert!(ask(&mut wire, "pass alice").starts_with("+OK"));
    assert!(ask(&mut wire, "xtnd xmit").starts_with("-ERR"));
    // popward does not serve LAST either.
    assert!(ask(&mut wire, "last").starts_with("-ERR"));
    assert_eq!(multi(&mut wire, "top 2 4294967295"), retrieved(2));
    assert!(ask(&mut wire, "quit").starts_with("+OK"));
}
