//! Bytes of messages. Anybody can send them.

use super::host::{Host, PATIENCE, assert_ok, message, user};
use std::time::Instant;

/// A host where alice has this spool, with UIDLs from X-UIDL headers.
fn host(spool: &[u8]) -> Host {
    let changes = [(
        "[spool]\n",
        "[adopt]\nfrom = [\"x-uidl\"]\n[spool]\nhide = []\n",
    )];
    Host::with(&[user("alice", 64401, spool)], "", &changes)
}

/// Asks for everything about every message. The time limit fails only code that takes more than
/// linear time.
fn reads(host: &Host) -> Vec<String> {
    let began = Instant::now();
    let mut client = host.login("alice");
    let stat = client.ask("STAT");
    let count: u32 = stat.split(' ').nth(1).unwrap().parse().unwrap();
    let sizes = client.multi("LIST");
    assert_eq!(
        client.multi("UIDL").lines().count(),
        usize::try_from(count).unwrap()
    );
    let mut messages = Vec::new();
    for (number, size) in (1..=count).zip(sizes.lines()) {
        let text = client.multi(&format!("RETR {number}"));
        let octets = text.len() + text.matches('\n').count();
        assert_eq!(size, format!("{number} {octets}"));
        client.multi(&format!("TOP {number} 0"));
        messages.push(text);
    }
    assert_ok(&client.ask("QUIT"));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    messages
}

/// Qpopper 2.53 used what EUIDL answers, the sender's X-UIDL and From, as a format string.
#[test]
fn format_strings_in_headers_are_text() {
    let header = "From: %n%n%n%s <%x@example.org>\nX-UIDL: %n%s%n%s%n%s%n\nSubject: %n%1000000d\n";
    let mail = format!("From %n@example.org Mon Nov 23 10:00:01 2026\n{header}\n%n%s\n\n");
    let host = host(mail.as_bytes());
    let mut client = host.login("alice");
    assert_eq!(client.ask("UIDL 1"), "+OK 1 %n%s%n%s%n%s%n");
    assert_eq!(client.multi("RETR 1"), format!("{header}\n%n%s\n"));
    assert_eq!(client.multi("TOP 1 0"), format!("{header}\n"));
    assert!(client.ask("EUIDL 1").starts_with("-ERR"));
    assert_ok(&client.ask("QUIT"));
}

/// Qpopper cut long lines into pieces. A piece that began with "From " began a message, with
/// headers of the sender's choice.
#[test]
fn a_from_line_inside_a_long_line_begins_no_message() {
    let from = "From spoofer@example.org Mon Nov 23 10:00:09 2026";
    for length in [
        255,
        510,
        511,
        512,
        1021,
        1022,
        1023,
        1024,
        2047,
        2048,
        4095,
        4096,
        8191,
        8192,
        16_383,
        16_384,
        65_535,
        65_536,
        1 << 20,
        (4 << 20) - 1,
    ] {
        let body = format!(
            "{}{from}\nSubject: spoofed\n\n{}{from}",
            "x".repeat(length),
            "y".repeat(length)
        );
        let host = host((message(1, &body) + &message(2, "the next")).as_bytes());
        let messages = reads(&host);
        assert_eq!(messages.len(), 2, "after {length} octets");
        assert!(messages[0].contains("Subject: spoofed") && messages[1].contains("the next"));
    }
}

/// A NUL in a header's name ended Dovecot, and could corrupt the mailbox.
#[test]
fn nul_bytes_in_headers_are_kept() {
    let odd = [
        "Date\0: x\n\0From: ( a <b@example.org>\nSub\0ject: c\nStatu\0s: RO\nX-UI\0DL: d\n",
        "\0\n",
        "\0: \0\n",
        "Subject\0\0\0\n\tfolded\0\n",
        "X-UIDL: a\0b\n",
        "Received: \0\n\0\n \0\n",
    ];
    let spool: Vec<String> = (1..)
        .zip(odd)
        .map(|(number, header)| {
            format!("From a@example.org Mon Nov 23 10:00:{number:02} 2026\nFrom: <a@example.org>\n{header}\nbody\0\n\n")
        })
        .collect();
    let host = host(spool.concat().as_bytes());
    let messages = reads(&host);
    for (stored, read) in spool.iter().zip(&messages) {
        assert_eq!(
            &stored[stored.find('\n').unwrap() + 1..stored.len() - 1],
            read
        );
    }
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(
        host.bytes("alice"),
        spool[1..].concat().as_bytes(),
        "and the update keeps them"
    );
}

/// Dovecot's parser called itself for each part within a part. It took quadratic time for many
/// address headers, and for long ones. popward looks at a header's lines one by one, and reads no
/// MIME.
#[test]
fn nested_parts_and_long_headers_take_linear_time() {
    let part = |depth: u32| {
        format!("Content-Type: multipart/mixed; boundary=\"b{depth}\"\n\n--b{depth}\n")
    };
    let nested = format!(
        "From: <a@example.org>\n{}",
        (0..100_000).map(part).collect::<String>()
    );
    let addresses = "From: <a@example.org>\nTo: <b@example.org>\n".repeat(200_000) + "\nbody\n";
    let long = format!("Subject: {}\n\nbody\n", "word ".repeat(2_000_000));
    let folded = format!(
        "To: <a@example.org>{}\n\nbody\n",
        ",\n <b@example.org>".repeat(400_000)
    );
    let comments = format!("From: {}\n\nbody\n", "(".repeat(4_000_000));
    let mut spool = String::new();
    for (number, text) in (1..).zip([nested, addresses, long, folded, comments]) {
        spool += &format!("From a@example.org Mon Nov 23 10:00:{number:02} 2026\n{text}\n");
    }
    let host = host(spool.as_bytes());
    assert_eq!(reads(&host).len(), 5);
}

/// A message whose header never ends, and a message that is only a From_ line.
#[test]
fn a_header_without_an_end_is_a_message() {
    let spool = "From a@example.org Mon Nov 23 10:00:01 2026\nSubject: no end\nX: y\n\nFrom b@example.org Mon Nov 23 10:00:02 2026\n";
    let messages = reads(&host(spool.as_bytes()));
    // The separator is also the empty line that ends the header.
    assert_eq!(messages, ["Subject: no end\nX: y\n\n", ""]);
}

/// With a Content-Length of the sender's choice, Qpopper swallowed the mail behind the message.
#[test]
fn a_forged_content_length_hides_no_mail() {
    for length in [
        "4294967295",
        "18446744073709551615",
        "-1",
        "99999999999999999999999",
        "100000",
        "%n",
        "",
    ] {
        let first = format!(
            "From a@example.org Mon Nov 23 10:00:01 2026\nContent-Length: {length}\nSubject: one\n\nbody\n\n"
        );
        let messages = reads(&host((first + &message(2, "the next")).as_bytes()));
        assert_eq!(messages.len(), 2, "{length:?}");
        assert!(messages[1].contains("the next"));
    }
}

/// A sender gives two messages one X-UIDL. A client would take one for the other, and hide or
/// delete it.
#[test]
fn a_forged_x_uidl_takes_no_other_messages_name() {
    let with = |number: u32, id: &str| {
        message(number, "body").replacen("Subject:", &format!("X-UIDL: {id}\nSubject:"), 1)
    };
    let spool = with(1, "victims-name")
        + &with(2, "victims-name")
        + &with(3, "")
        + &with(4, &"x".repeat(71))
        + &with(5, "a b");
    let host = host(spool.as_bytes());
    let mut client = host.login("alice");
    let list = client.multi("UIDL");
    let mut ids: Vec<&str> = list
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(ids[0], "victims-name");
    for id in &ids {
        assert!(
            (1..=70).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()),
            "{id:?}"
        );
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "{list}");
}
