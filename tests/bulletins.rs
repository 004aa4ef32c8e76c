//! Bulletins: an operator's messages behind a user's own, never in the spool (docs/operation.md).

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, skipped, spool, user};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory of bulletins.
struct Board(tempfile::TempDir);

impl Board {
    fn new(bulletins: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let board = Self(directory);
        for (name, body) in bulletins {
            board.put(name, &bulletin(name, body));
        }
        board
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// The configuration.
    fn section(&self, more: &str) -> String {
        let path = self.0.path().display();
        format!("[bulletins]\ndirectory = \"{path}\"\n{more}")
    }
}

fn bulletin(name: &str, body: &str) -> String {
    format!(
        "From postmaster@example.org Mon Nov 23 10:00:00 2026\nFrom: Postmaster <postmaster@example.org>\nSubject: {name}\n\n{body}\n"
    )
}

/// What RETR sends of it.
fn retrieved(name: &str, body: &str) -> String {
    let text = bulletin(name, body);
    text[text.find('\n').unwrap() + 1..].to_owned()
}

/// The names of the bulletins that UIDL lists.
fn shown(client: &mut host::Client) -> Vec<String> {
    let list = client.multi("UIDL");
    let names = list.lines().filter_map(|line| {
        let (_, name) = line.split_once(" popward-bulletin-")?;
        Some(name.to_owned())
    });
    names.collect()
}

fn session(host: &Host, user: &str) -> Vec<String> {
    let mut client = host.login(user);
    let names = shown(&mut client);
    assert_ok(&client.ask("QUIT"));
    names
}

fn users() -> [host::User; 2] {
    let mut bob = user("bob", 64402, b"");
    bob.spool = None;
    [user("alice", 64401, &spool(2)), bob]
}

#[test]
fn bulletins_follow_the_spools_messages_and_are_never_in_it() {
    let board = Board::new(&[
        ("1.welcome", "Hello.\n.\n..\nGrüße"),
        ("2.down", "Tonight."),
    ]);
    let host = Host::with(&users(), &board.section("keep = 9\n"), &[]);
    for (name, own) in [("alice", 2), ("bob", 0)] {
        let mut client = host.login(name);
        let list = client.multi("LIST");
        let sizes: Vec<u64> = list
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(sizes.len(), own + 2, "{list}");
        let sum: u64 = sizes.iter().sum();
        assert_eq!(client.ask("STAT"), format!("+OK {} {sum}", own + 2));
        let first = own + 1;
        let text = client.multi(&format!("RETR {first}"));
        assert_eq!(text, retrieved("1.welcome", "Hello.\n.\n..\nGrüße"));
        let octets: u64 = text.lines().map(|line| line.len() as u64 + 2).sum();
        assert_eq!(sizes[own], octets, "sizes are what is sent");
        assert_eq!(
            client.ask(&format!("LIST {first}")),
            format!("+OK {first} {octets}")
        );
        assert_eq!(
            client.ask(&format!("UIDL {first}")),
            format!("+OK {first} popward-bulletin-1.welcome")
        );
        let top = client.multi(&format!("TOP {first} 1"));
        assert!(top.ends_with("Subject: 1.welcome\n\nHello.\n"), "{top}");
        assert_eq!(
            client.multi(&format!("XTND XLST Subject {first}")),
            format!("{first} Subject: 1.welcome\n")
        );
        assert!(
            client
                .multi("XTND XLST Subject")
                .ends_with("Subject: 2.down\n")
        );
        assert!(
            client
                .multi("EUIDL")
                .ends_with("Postmaster <postmaster@example.org>\n")
        );
        assert_eq!(shown(&mut client), ["1.welcome", "2.down"]);
        assert_err(&client.ask(&format!("RETR {}", own + 3)));
        assert_ok(&client.ask("QUIT"));
    }
    assert_eq!(host.bytes("alice"), spool(2));
    assert!(!host.spool("bob").exists());
}

#[test]
fn p7_a_bulletin_is_deleted_by_quit_alone_and_stays_deleted() {
    let board = Board::new(&[("1.a", "a"), ("2.b", "b"), ("3.c", "c")]);
    let host = Host::with(&users(), &board.section("keep = 9\n"), &[]);
    let mut client = host.login("alice");
    let stat = client.ask("STAT");
    assert_ok(&client.ask("DELE 4"));
    for gone in ["RETR 4", "LIST 4", "UIDL 4", "TOP 4 0", "DELE 4", "EUIDL 4"] {
        assert_err(&client.ask(gone));
    }
    assert_eq!(shown(&mut client), ["1.a", "3.c"]);
    assert!(client.ask("STAT").starts_with("+OK 4 "));
    assert_ok(&client.ask("RSET"));
    assert_eq!(client.ask("STAT"), stat);
    assert_ok(&client.ask("DELE 4"));
    drop(client);
    assert_eq!(
        session(&host, "alice"),
        ["1.a", "2.b", "3.c"],
        "not by QUIT"
    );
    let kept = host.at("state/alice/bulletins");
    assert_eq!(std::fs::read(&kept).unwrap(), b"popward bulletins 1\n");
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 4"));
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(std::fs::read(&kept).unwrap(), b"popward bulletins 1\n2.b\n");
    assert_eq!(host.bytes("alice"), host::spool_of([2]));
    assert_eq!(session(&host, "alice"), ["1.a", "3.c"]);
    assert_eq!(
        session(&host, "bob"),
        ["1.a", "2.b", "3.c"],
        "another's are another's"
    );
    // Without a spool, without a message of one's own.
    let mut client = host.login("bob");
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(session(&host, "bob"), ["2.b", "3.c"]);
    // What is gone from the directory is forgotten; a new one is shown.
    board.remove("2.b");
    board.put("10.d", &bulletin("10.d", "d"));
    let mut client = host.login("alice");
    assert_eq!(shown(&mut client), ["1.a", "3.c", "10.d"]);
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(std::fs::read(&kept).unwrap(), b"popward bulletins 1\n1.a\n");
}

#[test]
fn a_new_user_is_shown_the_newest_ones() {
    let board = Board::new(&[("1.a", "a"), ("2.b", "b"), ("3.c", "c")]);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(10 * 86_400);
    let file = std::fs::File::options()
        .write(true)
        .open(board.path("2.b"))
        .unwrap();
    file.set_modified(old).unwrap();
    let host = Host::with(&users(), &board.section("keep = 2\ndays = 7\n"), &[]);
    // A session that breaks off has had nothing.
    let mut client = host.login("alice");
    assert_eq!(shown(&mut client), ["3.c"]);
    drop(client);
    assert!(!host.at("state/alice/bulletins").exists());
    assert_eq!(session(&host, "alice"), ["3.c"]);
    // From then on everything that is new is shown, old or not.
    board.put("4.d", &bulletin("4.d", "d"));
    board.put("5.e", &bulletin("5.e", "e"));
    board.put("6.f", &bulletin("6.f", "f"));
    assert_eq!(session(&host, "alice"), ["3.c", "4.d", "5.e", "6.f"]);
    assert_eq!(session(&host, "bob"), ["5.e", "6.f"]);
}

#[test]
fn a_bulletin_that_changes_or_vanishes_does_not_break_a_session() {
    let board = Board::new(&[("1.a", "a"), ("2.b", "b"), ("3.c", "c")]);
    let host = Host::with(&users(), &board.section("keep = 9\n"), &[]);
    let mut client = host.login("alice");
    board.remove("1.a");
    board.put("2.b", &bulletin("2.b", "B"));
    for gone in ["RETR 3", "TOP 3 0", "RETR 4", "TOP 4 0"] {
        assert_eq!(client.ask(gone), "-ERR this bulletin was withdrawn");
    }
    assert_eq!(client.multi("XTND XLST Subject").lines().count(), 3);
    assert_eq!(client.multi("LIST").lines().count(), 5);
    assert_eq!(client.multi("RETR 5"), retrieved("3.c", "c"));
    assert_ok(&client.ask("DELE 3"));
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(host.bytes("alice"), host::spool_of([2]));
    assert_eq!(session(&host, "alice"), ["2.b", "3.c"]);
    // The directory goes as well: there are none, and nothing of them is forgotten.
    let kept = host.at("state/alice/bulletins");
    let before = std::fs::read(&kept).unwrap();
    let away = board.0.path().with_extension("away");
    std::fs::rename(board.0.path(), &away).unwrap();
    assert!(session(&host, "alice").is_empty());
    assert_eq!(std::fs::read(&kept).unwrap(), before);
    assert!(host.logged("bulletin not shown").contains("No such file"));
    std::fs::rename(&away, board.0.path()).unwrap();
    assert_eq!(session(&host, "alice"), ["2.b", "3.c"]);
}

#[test]
fn what_is_no_message_is_skipped_and_logged() {
    let board = Board::new(&[("1.a", "a")]);
    board.put("2.no-mbox", "Subject: no From_ line\n\nx\n");
    board.put("3.empty", "");
    let two = [bulletin("4.two", "x"), bulletin("4.two", "y")].join("\n");
    board.put("4.two", &two);
    board.put("5.large", &bulletin("5.large", &"x".repeat(1 << 20)));
    std::os::unix::fs::symlink(board.path("1.a"), board.path("6.link")).unwrap();
    std::fs::create_dir(board.path("7.directory")).unwrap();
    board.put("README", "no bulletin");
    board.put("8.copy~", &bulletin("8.copy~", "x"));
    let host = Host::with(&users(), &board.section("keep = 99\n"), &[]);
    assert_eq!(session(&host, "alice"), ["1.a"]);
    for (name, why) in [
        ("2.no-mbox", "not one message"),
        ("3.empty", "not one message"),
        ("4.two", "not one message"),
        ("5.large", "larger than 1 MiB"),
        ("6.link", ""),
        ("7.directory", "not a regular file"),
    ] {
        let line = host.logged(&format!("file={name} "));
        assert!(
            line.contains("bulletin not shown") && line.contains(why),
            "{line}"
        );
    }
    assert!(!host.log().contains("README") && !host.log().contains("8.copy"));
}

#[test]
fn p8_bulletins_are_bounded_in_number_and_in_all() {
    let board = Board::new(&[]);
    for number in 1..=120 {
        let name = format!("{number}.x");
        // Of the newest hundred the newest ten have a megabyte each, nearly.
        let body = if number > 110 {
            "y".repeat(1_000_000)
        } else {
            "y".to_owned()
        };
        board.put(&name, &bulletin(&name, &body));
    }
    let host = Host::with(&users(), &board.section("keep = 999\n"), &[]);
    let names = session(&host, "alice");
    let numbers: Vec<u32> = names
        .iter()
        .map(|name| name[..name.len() - 2].parse().unwrap())
        .collect();
    let expected: Vec<u32> = (21..=110).chain(113..=120).collect();
    assert_eq!(numbers, expected);
    assert!(host.logged("20 too many").contains("bulletin not shown"));
    host.logged("file=112.x ");
}

#[test]
fn what_is_kept_of_bulletins_and_damaged_is_made_anew() {
    let board = Board::new(&[("1.a", "a"), ("2.b", "b")]);
    let host = Host::with(&users(), &board.section(""), &[]);
    assert_eq!(session(&host, "alice"), ["2.b"]);
    let kept = host.at("state/alice/bulletins");
    let whole = std::fs::read(&kept).unwrap();
    assert_eq!(whole, b"popward bulletins 1\n1.a\n");
    std::fs::write(&kept, b"popward bulletins 1\n1.a\n\xff\n").unwrap();
    assert_eq!(session(&host, "alice"), ["2.b"], "as a new user");
    assert!(host.logged("bulletin not shown").contains("line 3"));
    assert_eq!(std::fs::read(&kept).unwrap(), whole);
}

#[test]
fn p1_a_worker_can_read_the_bulletins_directory_and_no_more() {
    if !host::root() {
        return skipped("a directory that is another's");
    }
    let board = Board::new(&[("1.a", "a")]);
    // Were it the user's to write to, it would still be read only.
    std::os::unix::fs::chown(board.0.path(), Some(0), Some(0)).unwrap();
    let host = Host::with(&users(), &board.section(""), &[]);
    let before = listing(board.0.path());
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 3"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(listing(board.0.path()), before);
    // Nor is it taken where others could write, be it only what is their own.
    for (mode, expected) in [(0o777, " to be root's"), (0o1777, "nobody but its owner")] {
        std::fs::set_permissions(board.0.path(), PermissionsExt::from_mode(mode)).unwrap();
        let output = std::process::Command::new(host.at("libexec/popward"))
            .args(["--check", "--config"])
            .arg(host.at("popward.toml"))
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains("bulletins.directory: expected ") && error.contains(expected),
            "{error}"
        );
    }
}

fn listing(path: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path(), entry.metadata().unwrap().modified().unwrap())
    });
    entries.collect()
}

/// The state directory is full: what was deleted of the spool is, the answer says that not all was, and the next try does it.
#[test]
fn p3_a_deletion_that_cannot_be_noted_is_not_answered_as_done() {
    if !host::root() {
        return skipped("a small disk: only root can mount one");
    }
    let board = Board::new(&[("1.a", "a"), ("2.b", "b")]);
    let host = Host::with(&users(), &board.section("keep = 9\n"), &[]);
    assert_eq!(session(&host, "alice").len(), 2);
    let state = host.at("state/alice");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(
        Some("tmpfs"),
        &state,
        Some("tmpfs"),
        flags,
        Some("size=24k"),
    )
    .unwrap();
    std::os::unix::fs::chown(&state, Some(64401), Some(64401)).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(state.join("bulletins"), b"popward bulletins 1\n").unwrap();
    let mut client = host.login("alice");
    // Behind the login, before the first command, the reserve was made; now there is nothing left.
    assert_ok(&client.ask("STAT"));
    assert!(std::fs::write(state.join("filler"), vec![1; 1 << 20]).is_err());
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("DELE 3"));
    assert_eq!(
        client.ask("QUIT"),
        "-ERR [SYS/TEMP] some deleted messages not removed"
    );
    assert_eq!(host.bytes("alice"), host::spool_of([2]));
    let mut client = host.login("alice");
    assert_eq!(shown(&mut client), ["1.a", "2.b"], "shown again, not lost");
    assert_ok(&client.ask("DELE 2"));
    assert_eq!(
        client.ask("QUIT"),
        "-ERR [SYS/TEMP] deleted messages not removed"
    );
    std::fs::remove_file(state.join("filler")).unwrap();
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(session(&host, "alice"), ["2.b"]);
    nix::mount::umount2(&state, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

/// Sent by a stranger, and pinned by a migration: neither takes a bulletin's name.
#[test]
fn p5_a_message_that_claims_a_bulletins_uidl_does_not_get_it() {
    let board = Board::new(&[("1.a", "a")]);
    let named = |number, name: &str| {
        let field = format!("X-UIDL: {name}\nSubject:");
        host::message(number, "x").replace("Subject:", &field)
    };
    // Two that are equal get suffixes: this one must not become a bulletin's by that, nor pins that cannot be read again.
    let spool = named(1, "popward-bulletin-1.a")
        + &named(2, "popward-bulletin")
        + &named(3, "popward-bulletin");
    let more = format!("uidl = [\"x-uidl\"]\n{}", board.section(""));
    let host = Host::with(&[user("alice", 64401, spool.as_bytes())], &more, &[]);
    for _ in 0..3 {
        let mut client = host.login("alice");
        let names = client.multi("UIDL");
        assert_eq!(names.lines().nth(3), Some("4 popward-bulletin-1.a"));
        assert_eq!(names.matches("popward-bulletin").count(), 1, "{names}");
        assert_ok(&client.ask("QUIT"));
    }
}
