//! Spools with defects, beside real programs: what delivery agents leave if the disk is full, what
//! they write behind a delivery that was broken off, and what mail readers do after popward has
//! updated such a spool. docs/neighbours.md has the results.
//!
//! The small file systems are a tmpfs and an ext4. A test runs itself again in a mount namespace of
//! its own, so they go away with it.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
mod neighbourhood;

use host::{Host, assert_ok, root, skipped, user};
use neighbourhood::agents::{Delivery, Post};
use neighbourhood::readers::{self, Edit};
use neighbourhood::{Account, MAIL, accounts, say};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Says that this process has a mount namespace of its own.
const OWN_MOUNTS: &str = "POPWARD_OWN_MOUNTS";

/// A file system for spools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tmpfs,
    Ext4,
}

/// Runs the test `name` again, in a mount namespace of its own. Returns whether the caller is that
/// run, and so should do the work.
fn is_in_own_mounts(name: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    if !root() {
        skipped(&format!("{name}: needs root, to mount file systems"));
        return false;
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(OWN_MOUNTS, "yes")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    false
}

/// Mounts a file system of this kind at `place`. Returns whether this host can.
fn mount(kind: Kind, place: &Path, image: &Path) -> bool {
    let mut command = Command::new("mount");
    match kind {
        Kind::Tmpfs => command.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]),
        Kind::Ext4 => {
            fs::File::create(image).unwrap().set_len(4 << 20).unwrap();
            // No blocks are kept for root, as whom some agents write.
            let made = Command::new("/usr/sbin/mkfs.ext4")
                .args(["-q", "-F", "-m", "0"])
                .arg(image)
                .status();
            if !made.is_ok_and(|status| status.success()) {
                return false;
            }
            command.args(["-o", "loop"]).arg(image)
        }
    };
    command.arg(place).status().unwrap().success()
}

/// A mounted file system. It must go before the directory that it is in.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A host like Debian's. Its spools are in a file system of this kind, if one is given.
fn host_on(kind: Option<Kind>, accounts: &[Account]) -> Option<(Host, Option<Mounted>)> {
    let users: Vec<host::User> = accounts
        .iter()
        .map(|account| user(account.name, account.uid, b""))
        .collect();
    let group = format!("group = {}\n", host::MAIL);
    let host = Host::with(&users, "", &[(&group, "group = \"mail\"\n")]);
    let mail = host.at("mail");
    if kind.is_some_and(|kind| !mount(kind, &mail, &host.at("image"))) {
        skipped(&format!("no {kind:?} can be mounted"));
        return None;
    }
    let mounted = kind.map(|_| Mounted(mail.clone()));
    chown(&mail, Some(0), Some(MAIL)).unwrap();
    fs::set_permissions(&mail, PermissionsExt::from_mode(0o2775)).unwrap();
    for account in accounts {
        put(&host, account, b"");
        let spool = host.spool(account.name);
        chown(&spool, Some(account.uid), Some(MAIL)).unwrap();
        fs::set_permissions(&spool, PermissionsExt::from_mode(0o660)).unwrap();
    }
    Some((host, mounted))
}

/// Writes a spool. If there was one, it keeps its owner.
fn put(host: &Host, account: &Account, spool: &[u8]) {
    fs::write(host.spool(account.name), spool).unwrap();
}

/// Takes all room but `left` bytes.
fn fill(host: &Host, left: u64) {
    let mut file = fs::File::create(host.at("mail/filler")).unwrap();
    while file.write_all(&[b'x'; 512]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length - left).unwrap();
    file.sync_all().unwrap();
}

fn make_room(host: &Host) {
    fs::remove_file(host.at("mail/filler")).unwrap();
}

/// A message as an agent gets it: header, empty line, body.
fn mail(subject: &str, lines: usize) -> String {
    let line = format!("A line of the message {subject}, from its first byte to its last.\n");
    format!(
        "From: <s@example.org>\nSubject: {subject}\n\n{}",
        line.repeat(lines)
    )
}

/// What a client gets of each message.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Shown {
    uidl: String,
    text: String,
}

impl Shown {
    fn has(&self, subject: &str) -> bool {
        self.text.contains(&format!("message {subject},"))
    }

    /// Whether it is this message, and nothing else.
    fn is(&self, subject: &str, mail: &str) -> bool {
        let (header, body) = self.text.split_once("\n\n").unwrap_or_default();
        let body = body.trim_end_matches('\n');
        header.contains(&format!("Subject: {subject}"))
            && mail.split_once("\n\n").unwrap().1.trim_end_matches('\n') == body
    }
}

/// The maildrop over the wire. LIST, UIDL, TOP and RETR agree.
fn maildrop(host: &Host, account: &Account) -> Vec<Shown> {
    let mut client = host.login(account.name);
    let sizes = client.multi("LIST");
    let uidls = client.multi("UIDL");
    let rows = sizes.lines().zip(uidls.lines()).zip(1..);
    let messages = rows.map(|((size, uidl), number)| {
        let text = client.multi(&format!("RETR {number}"));
        let octets = text.len() + text.lines().count();
        assert_eq!(size, format!("{number} {octets}"));
        assert_eq!(client.multi(&format!("TOP {number} 99999")), text);
        let uidl = uidl.strip_prefix(&format!("{number} ")).unwrap().to_owned();
        Shown { uidl, text }
    });
    let messages: Vec<_> = messages.collect();
    assert_ok(&client.ask("QUIT"));
    messages
}

fn delete_first(host: &Host, account: &Account) {
    let mut client = host.login(account.name);
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
}

/// Each message can be deleted without the others, which stay as they are.
fn assert_deletable(host: &Host, account: &Account, all: &[Shown], what: &str) {
    let spool = host.bytes(account.name);
    for gone in 0..all.len() {
        put(host, account, &spool);
        let mut client = host.login(account.name);
        assert_ok(&client.ask(&format!("DELE {}", gone + 1)));
        assert_ok(&client.ask("QUIT"));
        let mut left = all.to_vec();
        left.remove(gone);
        assert_eq!(maildrop(host, account), left, "{what}");
    }
    put(host, account, &spool);
}

/// Lets an agent deliver where there is room, and waits until the message has come.
fn deliver(host: &Host, post: &Post, agent: &str, account: &Account, text: &str) {
    let before = host.bytes(account.name).len();
    let delivery = post.deliver(agent, account, account.name, text, false);
    assert!(
        matches!(delivery, Delivery::Done | Delivery::Queued),
        "{agent}: {delivery:?}"
    );
    let last = text.lines().last().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let has_come = |spool: &[u8]| String::from_utf8_lossy(&spool[before..]).contains(last);
    while !has_come(&host.bytes(account.name)) {
        assert!(Instant::now() < until, "{agent} does not deliver");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The agents that are installed, each with an account of its own.
fn agents<'a>(post: &'a Post, accounts: &'a [Account]) -> Vec<(&'static str, &'a Account)> {
    post.agents.iter().copied().zip(accounts).collect()
}

const FIRST: &str = "From s@example.org Mon Nov 23 10:00:00 2026\nFrom: <s@example.org>\nSubject: first\n\n\
    A line of the message first, from its first byte to its last.\n\n";

/// The agents that leave in the spool what there was room for. The others cut it to its former
/// length.
const LEAVE_A_PART: [&str; 2] = ["maildrop", "putmail"];

/// A disk has room for a part of a message only. While it is full, the client deletes what it has
/// read. That ends a line that was broken off, and the next message is whole.
fn on_a_full_disk(kind: Kind) {
    let accounts = accounts();
    let Some((host, _mounted)) = host_on(Some(kind), &accounts) else {
        return;
    };
    let post = Post::new(&host.at("post"), &host.at("mail"), &accounts, "10 secs");
    for (agent, account) in agents(&post, &accounts) {
        put(&host, account, FIRST.as_bytes());
        let before = maildrop(&host, account);
        fill(&host, 20 << 10);
        let large = mail("large", 900);
        let ended = post.attempt(agent, account, account.name, &large);
        let spool = host.bytes(account.name);
        assert!(spool.starts_with(FIRST.as_bytes()), "{agent}");
        let part = &spool[FIRST.len()..];
        say(&format!(
            "{kind:?}, {agent}: {ended}; {} bytes left",
            part.len()
        ));
        let leaves = LEAVE_A_PART.contains(&agent);
        assert_eq!(part.is_empty(), !leaves, "{agent}");
        assert!(!leaves || !part.ends_with(b"\n"), "{agent}");
        assert_eq!(maildrop(&host, account)[0], before[0], "{agent}");
        delete_first(&host, account);
        let end: &[u8] = if leaves { b"\n" } else { b"" };
        assert_eq!(host.bytes(account.name), [part, end].concat(), "{agent}");
        make_room(&host);
        let good = mail("good", 3);
        deliver(&host, &post, agent, account, &good);
        let all = maildrop(&host, account);
        let found: Vec<_> = all.iter().filter(|shown| shown.has("good")).collect();
        assert!(found.len() == 1 && found[0].is("good", &good), "{agent}");
        assert_deletable(&host, account, &all, agent);
    }
}

#[test]
fn p3_what_a_full_tmpfs_breaks_off_damages_no_other_message() {
    if is_in_own_mounts("p3_what_a_full_tmpfs_breaks_off_damages_no_other_message") {
        on_a_full_disk(Kind::Tmpfs);
    }
}

#[test]
fn p3_what_a_full_ext4_breaks_off_damages_no_other_message() {
    if is_in_own_mounts("p3_what_a_full_ext4_breaks_off_damages_no_other_message") {
        on_a_full_disk(Kind::Ext4);
    }
}

/// The agents that end a broken-off line before they append a message. The others write their From_
/// line behind it.
const END_LINES: [&str; 1] = ["dovecot-lda"];

/// A delivery that was broken off.
struct Broken {
    place: &'static str,
    part: String,
    /// Whether popward's next update ends the line.
    is_ended: bool,
    /// Whether a From_ line that follows on the same line cannot be told from text.
    is_text: bool,
}

fn broken() -> Vec<Broken> {
    let from = "From b@example.org Mon Nov 23 11:00:00 2026";
    let header = format!("{from}\nFrom: <b@example.org>\nSubject: broken");
    let body = format!("{header}\n\nbroken text");
    let rows = [
        ("within the word From", "Fro".to_owned(), true, true),
        ("within a From_ line", from[..30].to_owned(), false, false),
        (
            "before the end of a From_ line",
            from.to_owned(),
            false,
            false,
        ),
        ("after a From_ line", format!("{from}\n"), false, false),
        ("within a header line", header.clone(), true, true),
        ("after a header line", format!("{header}\n"), false, false),
        ("within a line of the body", body.clone(), true, true),
        (
            "after a line of the body",
            format!("{body}\n"),
            false,
            false,
        ),
    ];
    let rows = rows.map(|(place, part, is_ended, is_text)| Broken {
        place,
        part,
        is_ended,
        is_text,
    });
    rows.into()
}

/// Each agent delivers behind each kind of broken-off delivery: at once, and after a session that
/// deleted another message.
#[test]
fn p3_a_message_behind_a_broken_off_delivery_is_whole() {
    if !root() {
        return skipped("deliveries behind broken-off ones: needs root");
    }
    let accounts = accounts();
    let Some((host, _mounted)) = host_on(None, &accounts) else {
        return;
    };
    let post = Post::new(&host.at("post"), &host.at("mail"), &accounts, "10 secs");
    let good = mail("good", 3);
    let other = FIRST.replace("first", "other");
    for (agent, account) in agents(&post, &accounts) {
        // It writes into its own message where a message before has no header.
        if agent == "putmail" {
            continue;
        }
        for case in broken() {
            let (place, part) = (case.place, &case.part);
            for updated in [false, true] {
                let what = format!("{agent}, {place}, updated: {updated}");
                let spool = [FIRST, part].concat();
                if updated {
                    put(
                        &host,
                        account,
                        [&other, &spool].map(String::as_str).concat().as_bytes(),
                    );
                    delete_first(&host, account);
                    let end = if case.is_ended { "\n" } else { "" };
                    let left = String::from_utf8(host.bytes(account.name)).unwrap();
                    assert_eq!(left, format!("{spool}{end}"), "{what}");
                } else {
                    put(&host, account, spool.as_bytes());
                }
                let before = maildrop(&host, account);
                deliver(&host, &post, agent, account, &good);
                let all = maildrop(&host, account);
                let last = all.last().unwrap();
                if case.is_text && !updated && !END_LINES.contains(&agent) {
                    // Nobody can tell this From_ line from text of the message before. Nothing of
                    // the message is lost, but it has no number of its own.
                    assert_eq!(all.len(), before.len(), "{what}");
                    assert!(
                        last.text.contains(good.split_once("\n\n").unwrap().1),
                        "{what}"
                    );
                    continue;
                }
                assert!(last.is("good", &good), "{what}: {all:?}");
                let first = before[0].text.lines().take(4);
                assert!(first.eq(all[0].text.lines().take(4)), "{what}: {all:?}");
                assert_eq!(before[0].uidl, all[0].uidl, "{what}");
                assert_deletable(&host, account, &all, &what);
            }
        }
    }
}

/// Readers that take two messages for one where there is no empty line between them. They delete
/// both.
const JOIN: [(&str, &str); 3] = [
    ("s-nail", "no separators"),
    ("bsd-mailx", "no separators"),
    ("mail.mailutils", "no separators"),
];

/// Spools of four messages with small defects, of which popward deletes the first message.
fn defective() -> Vec<(&'static str, String)> {
    let text = |id: u32| {
        let body = format!("id n{id}x\nThe text of message n{id}x,\nto its end.\n");
        format!("From: <s@example.org>\nSubject: number n{id}x\n\n{body}")
    };
    let from = |id: u32| format!("From s{id}@example.org Mon Nov 23 10:00:0{id} 2026\n");
    let messages = [1, 2, 3, 4].map(|id| from(id) + &text(id));
    let separated = messages.join("\n") + "\n";
    vec![
        ("empty lines at the start", format!("\n \n{separated}")),
        (
            "an odd date in the first line",
            separated.replace("10:00:01 2026", "16: 18:08"),
        ),
        ("no separators", messages.concat()),
        ("no line end at the end", separated.trim_end().to_owned()),
        (
            "a From_ line without its end",
            format!("{separated}{}", from(5).trim_end()),
        ),
    ]
}

/// After popward's update, each reader finds the message that it is told to delete, and no other.
#[test]
fn readers_edit_defective_spools_that_popward_has_updated() {
    if !root() {
        return skipped("readers of defective spools: needs root");
    }
    let accounts = accounts();
    let Some((host, _mounted)) = host_on(None, &accounts) else {
        return;
    };
    let post = Post::new(&host.at("post"), &host.at("mail"), &accounts, "10 secs");
    for (reader, account) in readers::installed().into_iter().zip(&accounts) {
        for (defect, spool) in defective() {
            if JOIN.contains(&(reader, defect)) {
                continue;
            }
            put(&host, account, spool.as_bytes());
            let before = maildrop(&host, account);
            assert_eq!(before.len(), 4, "{defect}");
            delete_first(&host, account);
            assert_eq!(maildrop(&host, account), before[1..], "{defect}");
            let ended = readers::edit(reader, &post, account, 2, Edit::Delete);
            let said = format!("{reader}, {defect}: {:?} {}", ended.code, ended.output);
            let after = maildrop(&host, account);
            let ids = [1, 2, 3, 4].map(|id| {
                let subject = format!("Subject: number n{id}x");
                after
                    .iter()
                    .filter(|shown| shown.text.contains(&subject))
                    .count()
            });
            assert_eq!(ids, [0, 0, 1, 1], "{said}");
            for id in [3, 4] {
                let whole = format!("\n\nid n{id}x\nThe text of message n{id}x,\nto its end.\n");
                let uidl = &before[id - 1].uidl;
                let is_it = |shown: &&Shown| shown.text.contains(&whole) && shown.uidl == *uidl;
                assert_eq!(after.iter().filter(is_it).count(), 1, "{said}: {after:?}");
            }
        }
    }
}
