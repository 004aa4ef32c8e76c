//! What clients of Qpopper ask for beside RFC 1939 (EUIDL, XTND XLST, LAST), UTF8 and LANG (RFC 6856), and what is said of the
//! server, over the real processes.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, message, skipped, spool, user};
use std::os::unix::fs::{PermissionsExt, chown};

/// A message with these header lines beside those of [`message`].
fn with_headers(number: u32, headers: &str) -> String {
    message(number, "body").replace("Subject:", &format!("{headers}Subject:"))
}

/// What LIST says of a message.
fn octets(client: &mut host::Client, number: u32) -> String {
    let reply = client.ask(&format!("LIST {number}"));
    reply.rsplit(' ').next().unwrap().to_owned()
}

fn uidl(client: &mut host::Client, number: u32) -> String {
    let reply = client.ask(&format!("UIDL {number}"));
    reply.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn xtnd_xlst_lists_a_field_of_every_header() {
    let spool = [
        message(1, "X-Folded: of the body"),
        with_headers(2, "x-folded: a\r\n\tb\n  c\nX-Folded: second\n"),
        message(3, "third"),
        with_headers(4, "X-Folded:\n"),
        with_headers(5, &format!("X-Folded: %n%s\x1b[2J {}\n", "y".repeat(5000))),
    ];
    let host = Host::start(&[user("alice", 64401, spool.concat().as_bytes())]);
    let mut client = host.login("alice");
    // What Thunderbird says where it has no UIDL.
    let ids: String = (1..=5)
        .map(|n| format!("{n} Message-ID: <{n}@example.org>\n"))
        .collect();
    assert_eq!(client.multi("XTND XLST Message-Id"), ids);
    let folded = client.multi("XTND XLST X-Folded");
    let lines: Vec<&str> = folded.lines().collect();
    assert_eq!(lines[..2], ["2 x-folded: a b c", "4 X-Folded: "]);
    assert!(
        lines[2].starts_with("5 X-Folded: %n%s [2J yyy"),
        "{}",
        lines[2]
    );
    assert_eq!((lines.len(), lines[2].len()), (3, 12 + 998));
    assert_eq!(
        client.multi("xtnd xlst subject 3"),
        "3 Subject: message 3\n"
    );
    assert_eq!(client.multi("XTND XLST X-Folded 3"), "");
    assert_err(&client.ask("XTND XLST Subject 6"));
    assert_err(&client.ask("XTND XMIT"));
    assert_ok(&client.ask("DELE 3"));
    assert_err(&client.ask("XTND XLST Subject 3"));
    assert_eq!(client.multi("XTND XLST Subject").lines().count(), 4);
    drop(client);
    assert_eq!(host.bytes("alice"), spool.concat().as_bytes());
}

#[test]
fn a_listing_of_fields_is_as_long_as_it_must_be() {
    let mail = |number: u32| with_headers(number, &format!("X-Long: {}\n", "z".repeat(900)));
    let spool: String = (1..=500).map(mail).collect();
    let host = Host::start(&[user("alice", 64401, spool.as_bytes())]);
    let mut client = host.login("alice");
    let listed = client.multi("XTND XLST X-Long");
    assert_eq!(listed.lines().count(), 500);
    assert!(listed.lines().all(|line| line.ends_with(&"z".repeat(900))));
    assert!(client.ask("STAT").starts_with("+OK 500 "));
}

#[test]
fn euidl_adds_sizes_and_from_fields() {
    let spool = [
        message(1, "one"),
        message(2, "two").replace("From: <", "From: \"%p%p%p\t\" <"),
        message(3, "three").replace("From: <sender3@example.org>\n", ""),
    ];
    let host = Host::start(&[user("alice", 64401, spool.concat().as_bytes())]);
    let mut client = host.login("alice");
    let from = [
        "<sender1@example.org>",
        "\"%p%p%p \" <sender2@example.org>",
        "",
    ];
    let lines: Vec<String> = (1..=3)
        .map(|n| {
            let (uidl, octets) = (uidl(&mut client, n), octets(&mut client, n));
            format!("{n} {uidl} {octets} {}", from[n as usize - 1])
        })
        .collect();
    assert_eq!(client.multi("EUIDL"), lines.join("\n") + "\n");
    assert_eq!(client.ask("EUIDL 2"), format!("+OK {}", lines[1]));
    assert_err(&client.ask("EUIDL 4"));
    assert_ok(&client.ask("DELE 1"));
    assert_err(&client.ask("EUIDL 1"));
    assert_eq!(client.multi("EUIDL"), lines[1..].join("\n") + "\n");
}

#[test]
fn a_hidden_field_is_listed_by_nothing() {
    let spool = with_headers(1, "X-UID: 7\n");
    let users = [user("alice", 64401, spool.as_bytes())];
    let host = Host::with(&users, "hide = [\"X-UID\"]\n", &[]);
    let mut client = host.login("alice");
    assert_eq!(client.multi("XTND XLST x-uid"), "");
    assert_eq!(client.multi("XTND XLST Subject"), "1 Subject: message 1\n");
}

#[test]
fn last_is_what_was_read_before_or_in_this_session() {
    let spool = [
        with_headers(1, "Status: RO\n"),
        with_headers(2, "Status: OR\n"),
        with_headers(3, "Status: O\n"),
        message(4, "Status: R"),
    ];
    let users = [user("alice", 64401, spool.concat().as_bytes())];
    let host = Host::with(&users, "[pop3]\nlast = true\n", &[]);
    let mut client = host.login("alice");
    assert_eq!(client.ask("LAST"), "+OK 2");
    client.multi("TOP 4 0");
    assert_eq!(client.ask("LAST"), "+OK 2", "TOP is no RETR");
    client.multi("RETR 1");
    assert_eq!(client.ask("LAST"), "+OK 2");
    client.multi("RETR 3");
    assert_eq!(client.ask("LAST"), "+OK 3");
    assert_ok(&client.ask("RSET"));
    assert_eq!(client.ask("LAST"), "+OK 2");
    assert_ok(&client.ask("QUIT"));
    let host = Host::start(&users);
    assert_err(&host.login("alice").ask("LAST"));
}

/// RFC 6856, sections 2 and 5.
#[test]
fn headers_in_utf8_are_refused_where_that_is_configured() {
    let spool = [
        message(1, "ASCII above, Grüße here"),
        message(2, "body").replace("message 2", "Grüße"),
    ];
    let users = [user("alice", 64401, spool.concat().as_bytes())];
    let raw = "Subject: Grüße\n\nbody\n";
    for (mode, refuses) in [("off", false), ("pass", false), ("refuse", true)] {
        let host = Host::with(&users, &format!("[pop3]\nutf8 = \"{mode}\"\n"), &[]);
        let mut client = host.login("alice");
        let stat = client.ask("STAT");
        let size = octets(&mut client, 2);
        assert!(client.multi("RETR 1").ends_with("Grüße here\n"), "a body");
        if refuses {
            assert!(client.ask("RETR 2").starts_with("-ERR [UTF8] "));
            assert!(client.ask("TOP 2 0").starts_with("-ERR [UTF8] "));
            assert_eq!(client.multi("XTND XLST Subject 2"), "2 Subject: Gr????e\n");
            // What was refused was not retrieved, and the session goes on.
            assert_ok(&client.ask("DELE 2"));
            assert_ok(&client.ask("RSET"));
        } else {
            assert!(client.multi("RETR 2").ends_with(raw));
            assert_eq!(client.multi("XTND XLST Subject 2"), "2 Subject: Grüße\n");
        }
        assert_err(&client.ask("UTF8"));
        assert_ok(&client.ask("QUIT"));
        let mut client = host.connect();
        let capable = client.multi("CAPA").contains("\nUTF8\n");
        assert_eq!(client.ask("UTF8").starts_with("+OK"), capable);
        assert_eq!(capable, mode != "off");
        assert_ok(&client.ask("USER alice"));
        assert_ok(&client.ask("PASS alice"));
        let text = client.multi("RETR 2");
        assert!(text.ends_with(raw));
        // Sizes are those of the message as it is sent.
        assert_eq!(client.ask("STAT"), stat);
        let sent: usize = text.lines().map(|line| line.len() + 2).sum();
        assert_eq!(
            (octets(&mut client, 2), sent.to_string()),
            (size.clone(), size)
        );
    }
}

/// RFC 6856, section 3.
#[test]
fn replies_are_in_the_language_that_was_chosen() {
    let users = [user("alice", 64401, &spool(1))];
    let host = Host::with(&users, "[pop3]\nlanguage = \"es\"\n", &[]);
    let mut client = host.connect();
    assert!(client.multi("CAPA").contains("\nLANG\n"));
    assert_eq!(
        client.multi("LANG"),
        "en English\nde Deutsch\nfr Français\nes Español\n"
    );
    assert_eq!(client.ask("LANG de-CH"), "+OK de Sprache gewählt");
    assert_ok(&client.ask("USER alice"));
    assert_eq!(
        client.ask("PASS wrong"),
        "-ERR [AUTH] Benutzername oder Passwort falsch"
    );
    assert_ok(&client.ask("USER alice"));
    assert_ok(&client.ask("PASS alice"));
    assert_eq!(client.ask("RETR 2"), "-ERR keine solche Nachricht");
    assert_eq!(client.ask("LANG xx"), "-ERR keine solche Sprache");
    assert_eq!(client.ask("LANG *"), "+OK es idioma elegido");
    assert_eq!(client.ask("DELE 1"), "+OK mensaje 1 borrado");
    assert_eq!(client.ask("LANG FR"), "+OK fr langue choisie");
    assert_eq!(client.ask("QUIT"), "+OK popward vous dit au revoir");
}

#[test]
fn the_greeting_and_the_implementation_are_configured() {
    let users = [user("alice", 64401, &spool(1))];
    let more = "[pop3]\ngreeting = \"ready\"\nimplementation = \"\"\n";
    let host = Host::with(&users, more, &[]);
    let mut client = host::Client::new(host.plain);
    client.send(b"USER alice\r\nPASS alice\r\nCAPA\r\nQUIT\r\n");
    let text = client.until_end();
    assert!(text.starts_with("+OK ready"), "{text}");
    assert!(
        !text.contains("popward") && !text.contains("IMPLEMENTATION"),
        "{text}"
    );
}

#[test]
fn logins_and_ends_are_logged_as_qpopper_does_where_that_is_configured() {
    let users = [user("alice", 64401, &spool(3))];
    let host = Host::with(&users, "[log]\nqpopper = true\n", &[]);
    let mut client = host.login("alice");
    let deleted = octets(&mut client, 2);
    assert_ok(&client.ask("DELE 2"));
    let stat = client.ask("STAT").replace("+OK ", "");
    assert_ok(&client.ask("QUIT"));
    let version = env!("CARGO_PKG_VERSION");
    let line = host.logged("POP login by user");
    let (tag, text) = line.split_once(" notice ").unwrap();
    assert!(tag.starts_with("qpopper[") && tag.ends_with(']'), "{line}");
    assert_eq!(
        text,
        format!("(v{version}) POP login by user \"alice\" at (127.0.0.1) 127.0.0.1")
    );
    let stats = format!(" notice Stats: alice 1 {deleted} {stat} 127.0.0.1 127.0.0.1");
    assert!(host.logged("Stats: alice").ends_with(&stats));
    // Without QUIT nothing was deleted.
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    drop(client);
    let stats = format!(" notice Stats: alice 0 0 {stat} 127.0.0.1 127.0.0.1");
    assert!(host.logged_times("Stats: alice", 2).ends_with(&stats));
}

#[test]
fn spools_lie_where_the_pattern_says() {
    if !host::root() {
        return skipped("directories of spools for several users");
    }
    // Qpopper's hash-spool 1, then 2.
    for (pattern, place) in [("{{user:hash}}", "q"), ("{{user:1}}/{{user:2}}", "a/l")] {
        let pattern = pattern.replace("{{", "{").replace("}}", "}");
        let path = ("/mail/{user}\"", &*format!("/mail/{pattern}/{{user}}\""));
        let host = Host::with(&[user("alice", 64401, b"")], "", &[path]);
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        // Its directory must be there: an empty maildrop would have clients forget all that they had left on the server.
        assert!(client.ask("PASS alice").starts_with("-ERR [SYS/TEMP]"));
        let mut directory = host.at("mail");
        for name in place.split('/') {
            directory.push(name);
            std::fs::create_dir(&directory).unwrap();
            chown(&directory, Some(0), Some(host::MAIL)).unwrap();
            std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o2775)).unwrap();
        }
        assert!(host.login("alice").ask("STAT").starts_with("+OK 0 0"));
        let spool_path = directory.join("alice");
        std::fs::write(&spool_path, spool(2)).unwrap();
        chown(&spool_path, Some(64401), Some(64401)).unwrap();
        let mut client = host.login("alice");
        assert!(client.ask("STAT").starts_with("+OK 2 "));
        assert!(directory.join("alice.lock").exists());
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        assert_eq!(std::fs::read(&spool_path).unwrap(), host::spool_of([2]));
        assert!(!directory.join("alice.lock").exists());
    }
}
