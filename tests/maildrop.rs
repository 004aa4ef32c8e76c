//! What a maildrop looks like from outside: how it is opened, which UIDLs its messages have, and
//! what hidden fields do.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, message, until, user};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, Instant};

/// Enough mail that an index is kept.
fn much() -> Vec<u8> {
    let body = "some words in a line of text\n".repeat(100);
    let mail = (1..=300).map(|number| message(number, &body));
    mail.collect::<String>().into_bytes()
}

fn uidls(client: &mut Client) -> Vec<String> {
    let lines = client.multi("UIDL");
    let names = lines.lines().map(|line| line.split_once(' ').unwrap().1);
    names.map(str::to_owned).collect()
}

/// A session. Returns the UIDLs, and how the `times`th session of the log opened its spool.
fn session(host: &Host, times: usize) -> (Vec<String>, String) {
    let mut client = host.login("alice");
    let names = uidls(&mut client);
    assert_ok(&client.ask("QUIT"));
    let line = host.logged_times("opened session=", times);
    let how = line.split("how=").nth(1).unwrap();
    (names, how.split(' ').next().unwrap().to_owned())
}

/// The UIDLs that all sessions give until one finds the spool unchanged, from the `times`th session
/// on. Returns that session's number, too. An index proves a spool unchanged only once the file
/// system's clock has moved on since the spool changed. That takes longer on a slow machine.
fn until_unchanged(host: &Host, mut times: usize) -> (Vec<String>, usize) {
    let (first, mut how) = session(host, times);
    for _ in 0..20 {
        if how == "unchanged" {
            return (first, times);
        }
        times += 1;
        let (names, now) = session(host, times);
        assert_eq!(names, first);
        how = now;
    }
    panic!("never unchanged: {how}");
}

fn append(host: &Host, mail: &str) {
    let path = host.spool("alice");
    let mut spool = std::fs::File::options().append(true).open(path).unwrap();
    spool.write_all(mail.as_bytes()).unwrap();
}

#[test]
fn p4_opening_reads_only_what_changed_in_a_spool() {
    let host = Host::start(&[user("alice", 64401, &much())]);
    let (first, how) = session(&host, 1);
    assert_eq!((first.len(), &*how), (300, "scanned"));
    let (names, times) = until_unchanged(&host, 2);
    assert_eq!(names, first);
    append(&host, &message(301, "new"));
    let (names, how) = session(&host, times + 1);
    assert_eq!((&names[..300], &*how), (&first[..], "grown"));
    std::fs::write(host.at("state/alice/index"), b"nonsense").unwrap();
    let (again, how) = session(&host, times + 2);
    assert_eq!((&again, &*how), (&names, "scanned"));
    // After an update, the index lists what was left.
    let (mut expected, times) = until_unchanged(&host, times + 3);
    for again in 0..20 {
        let mut client = host.login("alice");
        assert_ok(&client.ask("DELE 7"));
        assert_ok(&client.ask("QUIT"));
        let (left, how) = session(&host, times + 2 * again + 2);
        expected.remove(6);
        assert_eq!(left, expected);
        if how == "unchanged" {
            return;
        }
    }
    panic!("never unchanged after an update");
}

#[test]
fn p5_equal_messages_keep_their_names_without_an_index() {
    let equal = |body: &str| message(7, body);
    let spool = [equal("one"), message(1, "x"), equal("two"), equal("three")].concat();
    let host = Host::start(&[user("alice", 64401, spool.as_bytes())]);
    let (names, _) = session(&host, 1);
    assert_eq!(names[2], format!("{}-2", names[0]));
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    let _ = std::fs::remove_file(host.at("state/alice/index"));
    assert_eq!(session(&host, 3).0, names[1..]);
    append(&host, &equal("four"));
    let (more, _) = session(&host, 4);
    assert_eq!(more[..3], names[1..]);
    assert_eq!(more[3], format!("{}-4", names[0]));
}

fn with_headers(number: u32, headers: &str) -> String {
    message(number, "body").replace("Subject:", &format!("{headers}Subject:"))
}

#[test]
fn p5_schemes_and_pins_name_what_comes_from_another_server() {
    let spool = [
        with_headers(1, "X-UIDL: from-qpopper\n"),
        with_headers(2, "X-UIDL: not valid\n"),
        with_headers(3, ""),
        with_headers(4, "X-UIDL: from-qpopper\n"),
    ];
    let adopt = "[adopt]\nfrom = [\"x-uidl\", \"popa3d\"]\n";
    let host = Host::with(
        &[user("alice", 64401, spool.concat().as_bytes())],
        adopt,
        &[],
    );
    let (names, _) = session(&host, 1);
    assert_eq!((&*names[0], &*names[3]), ("from-qpopper", "from-qpopper-2"));
    assert!(names[1].len() == 16 && names[2].len() == 16, "{names:?}");
    // Pins may also be written by hand.
    let file = std::fs::read_to_string(host.at("state/alice/pins")).unwrap();
    assert!(
        file.starts_with("popward pins 1\n") && file.contains("from-qpopper-2"),
        "{file}"
    );
    let output = std::process::Command::new(host.at("libexec/popward"))
        .args(["spool", "--json"])
        .arg(host.spool("alice"))
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let key = listed.split("\"key\":\"").nth(3).unwrap()[..32].to_owned();
    let path = host.at("state/alice/pins");
    let by_hand = file.replace(
        &format!("{key} {}", names[2]),
        &format!("{key} old-server.17"),
    );
    assert_ne!(by_hand, file);
    std::fs::write(&path, by_hand).unwrap();
    let (pinned, _) = session(&host, 2);
    assert_eq!(pinned[2], "old-server.17");
    assert_eq!((&pinned[..2], &pinned[3]), (&names[..2], &names[3]));
    // A malformed file of pins is refused. Without it messages would get other UIDLs.
    std::fs::write(&path, format!("{file}{key}\n")).unwrap();
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    assert!(client.ask("PASS alice").starts_with("-ERR [SYS/PERM]"));
    assert!(
        host.logged("maildrop not opened session=")
            .contains(&format!("pins:{}", file.lines().count() + 1))
    );
    // So is a file of pins that is too large to be read.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    assert!(client.ask("PASS alice").starts_with("-ERR [SYS/PERM]"));
    host.logged("pins: more than 64 MiB");
    assert_eq!(host.bytes("alice"), spool.concat().as_bytes());
}

/// By default the notes of mail programs are hidden. They are part of no UIDL either: the UIDLs
/// here are those that earlier versions gave.
#[test]
fn p5_a_note_of_a_mail_program_changes_neither_size_nor_name() {
    let notes = [
        "Status: RO\n",
        "X-Status: AF\n",
        "X-Keywords: one two\n",
        "X-UID: 7\n",
        "X-IMAP: kept\n",
        "X-IMAPbase: 1 2\n",
        "Content-Length: 5\n",
        "X-UIDL: a\n",
    ];
    let plain = [message(1, "body"), message(2, "body")].concat();
    let noted = [with_headers(1, &notes.concat()), message(2, "body")].concat();
    let seen = |spool: &str, more: &str| {
        let host = Host::with(&[user("alice", 64401, spool.as_bytes())], more, &[]);
        let mut client = host.login("alice");
        let texts = (client.multi("RETR 1"), client.multi("TOP 1 0"));
        (client.multi("LIST"), client.multi("UIDL"), texts)
    };
    let first = seen(&plain, "");
    assert_eq!(
        first.1,
        "1 c51735fe9df33549c03977f7091cb442\n2 35e1b0cde084ffdea6b38bcfa5dd5d24\n"
    );
    assert_eq!(seen(&noted, ""), first);
    let shown = seen(&noted, "hide = []\n");
    assert_eq!(shown.1, first.1, "the same names");
    assert!(notes.iter().all(|note| shown.2.0.contains(note)));
    let octets = |listed: &str| -> usize { listed.lines().next().unwrap()[2..].parse().unwrap() };
    let more = notes.concat().len() + notes.len();
    assert_eq!(octets(&shown.0), octets(&first.0) + more);
}

#[test]
fn hidden_fields_are_neither_sent_nor_counted() {
    let spool = with_headers(1, "Status: RO\nX-UID: 7\n\tfolded\nX-UIDL: shown\n");
    let hide = "hide = [\"Status\", \"x-uid\"]\n";
    let host = Host::with(&[user("alice", 64401, spool.as_bytes())], hide, &[]);
    let mut client = host.login("alice");
    let listed = client.ask("LIST 1");
    let text = client.multi("RETR 1");
    let octets: usize = text.lines().map(|line| line.len() + 2).sum();
    assert_eq!(listed, format!("+OK 1 {octets}"));
    assert!(
        text.contains("X-UIDL: shown\nSubject: message 1\n\nbody"),
        "{text}"
    );
    assert!(
        !text.contains("Status") && !text.contains("folded"),
        "{text}"
    );
    let top = client.multi("TOP 1 0");
    assert_eq!(top.lines().count(), text.lines().count() - 1);
    assert!(text.starts_with(&top));
}

/// The disk of the spools is full. There is no room even for a dotlock's text.
#[test]
fn p3_mail_on_a_full_disk_can_be_deleted() {
    if !host::root() {
        return host::skipped("a small disk: only root can mount one");
    }
    let host = Host::start(&[user("alice", 64401, b"")]);
    let mail = host.at("mail");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &mail, Some("tmpfs"), flags, Some("size=1m")).unwrap();
    chown(&mail, Some(0), Some(host::MAIL)).unwrap();
    std::fs::set_permissions(&mail, PermissionsExt::from_mode(0o2775)).unwrap();
    let path = host.spool("alice");
    std::fs::write(&path, host::spool(9)).unwrap();
    chown(&path, Some(64401), Some(64401)).unwrap();
    assert!(std::fs::write(mail.join("filler"), vec![1; 2 << 20]).is_err());
    let mut client = host.login("alice");
    assert_eq!(
        std::fs::metadata(host.spool("alice.lock")).unwrap().len(),
        0
    );
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(
        host.bytes("alice"),
        host::spool_of([1, 3, 4, 5, 6, 7, 8, 9])
    );
    assert!(!host.spool("alice.lock").exists());
    nix::mount::umount2(&mail, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

/// A sparse file: a message longer than 2 GiB, between two others.
#[test]
fn p8_a_spool_of_more_than_2_gib_is_served_and_updated() {
    let host = Host::start(&[user("alice", 64401, message(1, "first").as_bytes())]);
    append(&host, &message(2, "").replace("\n\n\n\n", "\n\n"));
    let path = host.spool("alice");
    let spool = std::fs::File::options().append(true).open(&path).unwrap();
    spool.set_len((5 << 29) + 7).unwrap();
    append(&host, &format!("\n\n{}", message(3, "last")));
    let mut client = host.login("alice");
    let listed = client.multi("LIST");
    let octets: u64 = listed.lines().nth(1).unwrap()[2..].parse().unwrap();
    assert!(octets > 2 << 30, "{listed}");
    assert!(client.multi("TOP 2 0").ends_with("Subject: message 2\n\n"));
    assert!(client.multi("RETR 3").ends_with("\nlast\n"));
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(
        host.bytes("alice"),
        [message(1, "first"), message(3, "last")]
            .concat()
            .into_bytes()
    );
}

/// Replaces a user's spool by one of `count` messages. Each has a hole of [`HOLE`] bytes, so that
/// the spool takes little room on the disk. Every tenth message has the same header.
fn make_holes(host: &Host, name: &str, count: u32) {
    let path = host.spool(name);
    let options = &mut std::fs::File::options();
    let mut file = options.write(true).truncate(true).open(path).unwrap();
    for number in 0..count {
        let mail = message(number % 10, "body");
        file.write_all(mail.trim_end().as_bytes()).unwrap();
        file.seek(SeekFrom::Current(HOLE)).unwrap();
        file.write_all(b"\n\n").unwrap();
    }
}

/// The bytes of a hole.
const HOLE: i64 = 8 << 20;

/// Reading the spool takes some seconds, and a login may take one.
#[test]
fn p2_p4_p5_p6_a_spool_that_is_not_read_within_limits_open_opens_at_a_later_login() {
    let host = Host::start(&[user("alice", 64401, b"")]);
    make_holes(&host, "alice", 20);
    session(&host, 1);
    let line = host.logged("opened session=");
    drop(host);
    let took_ms = line.split("read_ms=").nth(1).unwrap();
    let took_ms: u32 = took_ms.split(' ').next().unwrap().parse().unwrap();
    let mut count = (20 * 4000 / took_ms.max(1)).clamp(40, 4000);
    // If this machine was busy only meanwhile, a second is enough for that many.
    while !opens_later(count) {
        assert!(count < 20_000, "{count} messages were read in a second");
        count *= 2;
    }
}

/// Whether a maildrop with that many messages is opened at a later login than the first one.
fn opens_later(count: u32) -> bool {
    let unlimited = Host::start(&[user("alice", 64401, b"")]);
    make_holes(&unlimited, "alice", count);
    let (names, _) = session(&unlimited, 1);
    drop(unlimited);

    let changes = [("lock_timeout = \"2s\"", "lock_timeout = \"0s\"")];
    let limits = "[limits]\nopen = \"1s\"\n";
    let host = Host::with(&[user("alice", 64401, b"")], limits, &changes);
    make_holes(&host, "alice", count);
    let before = std::fs::metadata(host.spool("alice")).unwrap();
    for login in 1..30 {
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        let answer = client.ask("PASS alice");
        if answer.starts_with("+OK") {
            assert_eq!(uidls(&mut client), names);
            let after = std::fs::metadata(host.spool("alice")).unwrap();
            assert_eq!(before.modified().unwrap(), after.modified().unwrap());
            assert_eq!(before.len(), after.len());
            let line = host.logged("] opened session=");
            assert!(login == 1 || line.contains("how=grown"), "{line}");
            return login > 1;
        }
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
        let refused = Instant::now();
        until("the worker ends", || {
            host.children("popward-worker").is_empty()
        });
        assert!(
            refused.elapsed() < Duration::from_secs(2),
            "{:?}",
            refused.elapsed()
        );
        until("its dotlock goes", || !host.spool("alice.lock").exists());
        host.logged_times("maildrop not opened session=", login);
    }
    panic!("it never opens");
}

#[test]
fn p8_a_million_messages_are_served_and_updated() {
    let mail = |number: u32| format!("From a@b Mon Nov 23 10:00:00 2026\nA: {number}\n\nx\n\n");
    let spool: String = (0..1_000_000).map(mail).collect();
    let host = Host::start(&[user("alice", 64401, spool.as_bytes())]);
    let mut client = host.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 1000000 "));
    let names = uidls(&mut client);
    assert_eq!(
        names
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        1_000_000
    );
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("DELE 500000"));
    assert_ok(&client.ask("QUIT"));
    let (mut left, mut how) = session(&host, 2);
    assert!(left[..499_998] == names[1..499_999] && left[499_998..] == names[500_000..]);
    // See `until_unchanged`.
    for again in 0..20 {
        if how == "unchanged" {
            return;
        }
        let mut client = host.login("alice");
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        left.remove(0);
        let (names, now) = session(&host, 2 * again + 4);
        assert!(names == left);
        how = now;
    }
    panic!("never unchanged after an update: {how}");
}

#[test]
fn p3_a_user_without_room_can_delete() {
    if !host::root() {
        return host::skipped("a small disk: only root can mount one");
    }
    let host = Host::start(&[user("alice", 64401, &much())]);
    let state = host.at("state/alice");
    std::fs::create_dir(&state).unwrap();
    let flags = nix::mount::MsFlags::empty();
    let mounted = nix::mount::mount(
        Some("tmpfs"),
        &state,
        Some("tmpfs"),
        flags,
        Some("size=64k"),
    );
    mounted.unwrap();
    chown(&state, Some(64401), Some(64401)).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    let before = session(&host, 1).0;
    assert!(std::fs::write(state.join("filler"), vec![1; 1 << 20]).is_err());
    let mut client = host.login("alice");
    for number in [1, 150, 299] {
        assert_ok(&client.ask(&format!("DELE {number}")));
    }
    assert_ok(&client.ask("QUIT"));
    let after = session(&host, 3).0;
    let kept = (1..)
        .zip(before)
        .filter(|(number, _)| ![1, 150, 299].contains(number));
    let kept: Vec<String> = kept.map(|(_, name)| name).collect();
    nix::mount::umount2(&state, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(after, kept);
}
