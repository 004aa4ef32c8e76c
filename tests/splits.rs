//! Where messages begin, on files of all kinds: as popward, Dovecot's POP3 and c-client see it.
//! Each difference is listed with its reason in `splits/differences.txt`.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

#[path = "splits/generator.rs"]
mod generator;
mod host;
#[path = "splits/servers.rs"]
mod servers;

use host::{Client, Host, assert_ok, built, user};
use servers::{Messages, Servers, answers, questions};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a client gets of a spool over the wire.
fn popward(host: &Host, spool: &[u8]) -> Messages {
    // The same file: it keeps its owner.
    std::fs::write(host.spool("alice"), spool).unwrap();
    let mut client: Client = host.connect();
    assert!(client.ask("USER alice").starts_with("+OK"));
    client.send(b"PASS alice\r\n");
    client.send(&questions());
    let mut said = Vec::new();
    client.stream().read_to_end(&mut said).unwrap();
    answers(&said)
}

/// Fields that some server hides or adds.
const HIDDEN: [&str; 8] = [
    "Content-Length:",
    "Status:",
    "X-IMAP:",
    "X-IMAPbase:",
    "X-Keywords:",
    "X-Status:",
    "X-UID:",
    "X-UIDL:",
];

/// A message as it can be compared: without these fields, CR and empty lines at the end. For NUL,
/// c-client shows a space or 0x80.
fn comparable(message: &[u8]) -> String {
    let kept = message.iter().filter(|byte| **byte != b'\r');
    let shown = kept.map(|byte| {
        if matches!(byte, 0 | 0x80) {
            b' '
        } else {
            *byte
        }
    });
    let text = String::from_utf8_lossy(&shown.collect::<Vec<_>>()).into_owned();
    let (header, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let lines = header
        .lines()
        .filter(|line| !HIDDEN.iter().any(|field| line.starts_with(field)));
    let header: Vec<_> = lines.collect();
    let text = format!("{}\n\n{body}", header.join("\n"));
    text.trim_matches('\n').to_owned()
}

fn comparables(messages: &Messages) -> Option<Vec<String>> {
    let messages = messages.as_ref()?;
    Some(messages.iter().map(|message| comparable(message)).collect())
}

/// The listed differences: for each server, which files, and why.
fn listed() -> BTreeMap<(String, usize), String> {
    let text = servers::listed();
    let (mut reason, mut all) = (None, BTreeMap::new());
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if let Some(new) = line.strip_prefix("reason: ") {
            reason = Some(new);
            continue;
        }
        let mut words = line.split(' ');
        let server = words.next().unwrap();
        for number in words {
            let Some(reason) = reason else {
                panic!("{server} {number} has no reason");
            };
            let known = all.insert(
                (server.to_owned(), number.parse().unwrap()),
                reason.to_owned(),
            );
            assert_eq!(known, None, "{server} {number} is listed twice");
        }
    }
    all
}

#[test]
fn messages_begin_where_dovecot_and_c_client_see_them_or_the_difference_is_listed() {
    let servers = servers::installed();
    let others = Servers::new();
    let host = Host::start(&[user("alice", 64401, b"")]);
    let mut listed = listed();
    listed.retain(|(server, _), _| servers.contains(&server.as_str()));
    let mut wrong = String::new();
    for number in 0..generator::COUNT {
        let (kind, spool) = generator::spool(number);
        let ours = comparables(&popward(&host, &spool));
        for server in &servers {
            let theirs = comparables(&match *server {
                "dovecot" => others.dovecot(&spool),
                _ => others.c_client(&spool),
            });
            let reason = listed.remove(&((*server).to_owned(), number));
            if (ours == theirs) == reason.is_none() {
                continue;
            }
            let spool = spool.escape_ascii();
            let what = reason.map_or("not listed".to_owned(), |why| {
                format!("listed ({why}), and does not occur")
            });
            wrong += &format!(
                "{server} {number} ({kind}): {what}\n  popward: {ours:?}\n  {server}: {theirs:?}\n  spool: {spool:.3000}\n"
            );
        }
    }
    assert!(listed.is_empty(), "there are no such spools: {listed:?}");
    assert!(wrong.is_empty(), "{wrong}");
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("privsep/mbox/tests/vectors/cases")
}

fn case(name: &str) -> Vec<u8> {
    std::fs::read(cases().join(format!("{name}.mbox"))).unwrap()
}

/// The table of the cases: each with the count of Dovecot's messages and of popward's, `None` where
/// the file is refused.
fn table() -> Vec<(String, Option<usize>, Option<usize>)> {
    let text = std::fs::read_to_string(cases().join("README.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        (
            cells[0].to_owned(),
            cells[2].parse().ok(),
            cells[3].parse().ok(),
        )
    });
    let rows: Vec<_> = rows.collect();
    let files = std::fs::read_dir(cases()).unwrap().count() - 1;
    assert_eq!(rows.len(), files, "a row for each file");
    rows
}

/// What `popward spool --json` says of a case: offset and octets of each message.
fn shown(name: &str) -> Option<Vec<(usize, usize)>> {
    let output = Command::new(built().join("popward"))
        .arg("spool")
        .arg(cases().join(format!("{name}.mbox")))
        .arg("--json")
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    if json.starts_with("{\"error\":") {
        return None;
    }
    let number = |text: &str, field: &str| {
        let (_, text) = text.split_once(&format!("\"{field}\":")).unwrap();
        text.split(',').next().unwrap().parse().unwrap()
    };
    let messages = json.split("{\"number\":").skip(1);
    Some(
        messages
            .map(|text| (number(text, "offset"), number(text, "octets")))
            .collect(),
    )
}

#[test]
fn each_case_has_its_messages_in_a_listing_and_over_the_wire() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let others = Servers::new();
    let dovecot = servers::installed().contains(&"dovecot");
    for (name, theirs, count) in table() {
        let spool = case(&name);
        let sent = popward(&host, &spool);
        assert_eq!(sent.as_ref().map(Vec::len), count, "{name}");
        let shown = shown(&name);
        assert_eq!(shown.as_ref().map(Vec::len), count, "{name}");
        for ((offset, octets), message) in shown.iter().flatten().zip(sent.iter().flatten()) {
            assert!(spool[*offset..].starts_with(b"From "), "{name}");
            assert_eq!(*octets, message.len(), "{name}");
        }
        if dovecot {
            assert_eq!(
                others.dovecot(&spool).map(|messages| messages.len()),
                theirs,
                "{name}"
            );
        }
        assert!(
            host.bytes("alice") == spool,
            "{name}: reading does not write"
        );
    }
    // The front's line can come before the worker's. Only the worker's names the cause.
    host.logged("error=\"its lines end with CR alone: no mbox");
}

/// Sizes and UIDLs in a session.
fn listed_messages(host: &Host) -> (String, String) {
    let mut client = host.login("alice");
    let listed = (client.multi("LIST"), client.multi("UIDL"));
    assert_ok(&client.ask("QUIT"));
    listed
}

#[test]
fn no_size_and_no_uidl_changes_when_mail_is_appended() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let more = "From x@y Mon Nov 23 12:00:00 2026\nSubject: more\n\nmore\n";
    for (name, _, count) in table() {
        let Some(count) = count.filter(|count| *count > 0) else {
            continue;
        };
        let mut spool = case(&name);
        std::fs::write(host.spool("alice"), &spool).unwrap();
        let before = listed_messages(&host);
        if !spool.ends_with(b"\n") {
            spool.push(b'\n');
        }
        for added in 1..3 {
            spool.extend_from_slice(more.as_bytes());
            std::fs::write(host.spool("alice"), &spool).unwrap();
            let after = listed_messages(&host);
            assert!(
                after.0.starts_with(&before.0) && after.1.starts_with(&before.1),
                "{name}"
            );
            assert_eq!(after.0.lines().count(), count + added, "{name}");
        }
    }
}

/// Deletes the messages with these numbers.
fn delete(host: &Host, numbers: &[usize]) {
    let mut client = host.login("alice");
    for number in numbers {
        assert_ok(&client.ask(&format!("DELE {number}")));
    }
    assert_ok(&client.ask("QUIT"));
}

#[test]
fn p3_what_belongs_to_no_message_stays_until_it_would_stand_first() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let put = |spool: &[u8]| std::fs::write(host.spool("alice"), spool).unwrap();
    let spool = case("leading-empty");
    let second = memchr(&spool, b"From a2@");
    put(&spool);
    delete(&host, &[2]);
    assert_eq!(host.bytes("alice"), spool[..second]);
    // The file begins with a From_ line again.
    put(&spool);
    delete(&host, &[1]);
    assert_eq!(host.bytes("alice"), spool[second..]);
    put(&spool);
    delete(&host, &[1, 2]);
    assert_eq!(host.bytes("alice"), b"");
    // A delivery that was broken off in its From_ line stays whatever is deleted.
    let broken_off = case("unterminated-from");
    let both = [&case("nosep")[..], &broken_off].concat();
    put(&both);
    delete(&host, &[2]);
    let left = host.bytes("alice");
    assert!(left.ends_with(&broken_off) && left.len() < both.len());
    delete(&host, &[1, 2]);
    assert_eq!(host.bytes("alice"), broken_off);
    // The next delivery, on the same line, is a message of its own.
    let next = "From x@y Mon Nov 23 12:00:00 2026\nSubject: next\n\nnext\n\n";
    put(&[&broken_off, next.as_bytes()].concat());
    let mut client = host.login("alice");
    assert_eq!(client.multi("RETR 1"), "Subject: next\n\nnext\n");
}

fn memchr(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .position(|window| window == what)
        .unwrap()
}

/// From_ dates as programs have written them. A message in such a spool never takes the others with
/// it.
#[test]
fn a_spool_with_an_odd_from_date_in_it_stays_usable() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let good = |number: usize| {
        format!("From s{number}@x Mon Nov 23 10:00:0{number} 2026\nSubject: {number}\n\ntext\n\n")
    };
    for (date, is_date) in generator::DATES.iter().zip(IS_DATE) {
        let odd = format!("From a@b {date}\nSubject: odd\n\nodd\n\n");
        let spool = format!("{}{odd}{}", good(1), good(2));
        std::fs::write(host.spool("alice"), &spool).unwrap();
        let mut client = host.login("alice");
        let count = if is_date { 3 } else { 2 };
        assert!(
            client.ask("STAT").starts_with(&format!("+OK {count} ")),
            "{date}"
        );
        let first = client.multi("RETR 1");
        assert_eq!(first.contains("odd"), !is_date, "{date}: {first}");
        assert_eq!(
            client.multi(&format!("RETR {count}")),
            "Subject: 2\n\ntext\n",
            "{date}"
        );
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        assert_ok(&host.login("alice").ask("STAT"));
    }
}

#[test]
fn a_spool_that_begins_with_any_from_line_is_read_and_updated() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    let second = "From s@x Mon Nov 23 10:00:00 2026\nSubject: second\n\ntext\n\n";
    let dated = generator::DATES
        .iter()
        .map(|date| format!("From a@b {date}"));
    let undated = [
        "From a@b",
        "From ",
        "From Mon Nov 23 10:00:00 2026",
        "From  ",
        "From here on",
    ];
    for line in dated.chain(undated.map(str::to_owned)) {
        let put = |spool: &str| std::fs::write(host.spool("alice"), spool).unwrap();
        let first = format!("{line}\nSubject: first\n\nodd\n\n");
        put(&first);
        let uidls = listed_messages(&host).1;
        assert_eq!(uidls.lines().count(), 1, "{line}");
        // Mail is appended, and a later session finds both.
        put(&format!("{first}{second}"));
        assert!(listed_messages(&host).1.starts_with(&uidls), "{line}");
        let mut client = host.login("alice");
        assert_eq!(client.multi("RETR 1"), "Subject: first\n\nodd\n", "{line}");
        assert_eq!(
            client.multi("RETR 2"),
            "Subject: second\n\ntext\n",
            "{line}"
        );
        drop(client);
        delete(&host, &[2]);
        assert_eq!(host.bytes("alice"), first.as_bytes(), "{line}");
        assert_eq!(listed_messages(&host).1, uidls, "{line}");
        put(&format!("\n{first}{second}"));
        delete(&host, &[1]);
        assert_eq!(host.bytes("alice"), second.as_bytes(), "{line}");
        put(&first);
        delete(&host, &[1]);
        assert_eq!(host.bytes("alice"), b"", "{line}");
    }
}

/// Of the dates, those with which Dovecot or c-client takes a line for a From_ line.
const IS_DATE: [bool; 20] = [
    false, true, false, true, true, false, false, true, true, true, true, true, true, true, false,
    false, false, true, false, false,
];
