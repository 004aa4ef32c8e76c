//! Moves from other servers, by the commands of docs/migration.md.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
#[path = "splits/servers.rs"]
mod servers;

use host::{Host, message, root, skipped, spool, user};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

/// Runs `packaging/pins` on a spool and an old server's answer.
fn pins(host: &Host, spool: &Path, answer: &[u8]) -> Output {
    std::fs::write(host.at("uidls"), answer).unwrap();
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/pins"))
        .args([spool, &host.at("uidls"), &host.at("libexec/popward")])
        .output()
        .unwrap()
}

/// A message in which c-client and Dovecot keep their notes, then mail. Two of its messages are
/// equal.
fn old_spool() -> Vec<u8> {
    let notes = "From MAILER-DAEMON Mon Nov 23 10:00:00 2026\nDate: 23 Nov 2026 10:00:00 +0000\n\
         From: Mail System Internal Data <MAILER-DAEMON@example.org>\n\
         Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\
         X-IMAP: 1195658475 0000000007\nStatus: RO\n\nThis text is part of the folder.\n\n";
    let twice = message(9, "The same.");
    let spool = String::from_utf8(spool(3)).unwrap();
    format!("{notes}{spool}{twice}{twice}").into_bytes()
}

#[test]
fn p5_pins_keep_the_uidls_of_any_old_server() {
    // The old server gives other UIDLs: by a scheme that pins none.
    let old = Host::with(
        &[user("alice", 64401, &old_spool())],
        "[adopt]\nfrom = [\"tpop3d\"]\n",
        &[],
    );
    let new = Host::start(&[user("alice", 64401, &old_spool())]);
    let answer = Command::new("curl")
        .args(["-sS", "--user", "alice:alice", "-X", "UIDL"])
        .arg(format!("pop3://127.0.0.1:{}/", old.plain))
        .output()
        .unwrap();
    assert!(answer.status.success());
    assert_eq!(
        answer.stdout.iter().filter(|byte| **byte == b'\n').count(),
        5
    );
    let made = pins(&new, &new.spool("alice"), &answer.stdout);
    assert!(made.status.success(), "{made:?}");
    let state = new.at("state/alice");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("pins"), &made.stdout).unwrap();
    let owner = std::fs::metadata(new.spool("alice")).unwrap();
    for (path, mode) in [(state.join("pins"), 0o600), (state.clone(), 0o700)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut client = new.login("alice");
    let named = client.multi("UIDL");
    assert_eq!(
        named,
        String::from_utf8(answer.stdout).unwrap().replace('\r', "")
    );
    // The UIDLs are the old server's. popward itself would give others.
    let fresh = Host::start(&[user("alice", 64401, &old_spool())]);
    assert_ne!(fresh.login("alice").multi("UIDL"), named);
}

/// Dovecot numbers the messages, and writes the numbers into the spool. Mail comes, and popward takes
/// over.
#[test]
fn p5_dovecots_own_uidls_stay_without_asking_it() {
    if !servers::installed().contains(&"dovecot") {
        return;
    }
    for before in [spool(3), old_spool()] {
        let dovecot = servers::Servers::new();
        dovecot.dovecot_says(&before, b"LIST\r\nDELE 1\r\nQUIT\r\n");
        let said = dovecot.dovecot_says(&dovecot.spool(), b"LIST\r\nUIDL\r\nQUIT\r\n");
        let said = String::from_utf8_lossy(&said).replace('\r', "");
        let theirs = said.split("\n.\n").nth(1).unwrap();
        let theirs: Vec<&str> = theirs.lines().skip(1).collect();
        assert!(theirs.len() >= 2, "{said}");
        let arrived = message(77, "It has come since.");
        let now = [dovecot.spool(), arrived.into_bytes()].concat();
        let host = Host::with(
            &[user("alice", 64401, &now)],
            "[adopt]\nfrom = [\"dovecot\"]\n",
            &[],
        );
        let ours = host.login("alice").multi("UIDL");
        let ours: Vec<&str> = ours.lines().collect();
        assert_eq!(ours[..theirs.len()], theirs[..]);
        assert_eq!(ours.len(), theirs.len() + 1);
        let native = ours[theirs.len()].split_once(' ').unwrap().1;
        assert_ne!(native.len(), 16, "{native}");
    }
}

#[test]
fn pins_are_made_of_the_same_messages_or_not_at_all() {
    let host = Host::start(&[user("alice", 64401, &spool(2))]);
    let spool = host.spool("alice");
    for answer in [
        "1 a\r\n",
        "1 a\r\n2 b\r\n3 c\r\n",
        "1 a\r\n3 b\r\n",
        "1 a\r\n2 \r\n",
        "1 a\r\n2 \u{fc}\r\n",
        "",
    ] {
        let made = pins(&host, &spool, answer.as_bytes());
        assert_eq!((made.status.code(), &made.stdout[..]), (Some(1), &b""[..]));
        assert!(!made.stderr.is_empty());
    }
    std::fs::write(&spool, "no mbox\n").unwrap();
    assert_eq!(pins(&host, &spool, b"1 a\r\n").status.code(), Some(1));
}

/// The command that docs/migration.md gives for `/etc/shadow`.
fn of_shadow() -> String {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md");
    let text = std::fs::read_to_string(text).unwrap();
    let line = text.lines().find(|line| line.contains("/etc/shadow >>"));
    line.unwrap().trim().to_owned()
}

#[test]
fn a_qpopper_hosts_passwords_move_into_one_file() {
    if !root() {
        return skipped("a user of the system has its own spool: it takes root");
    }
    // Every system has the users `nobody` and `daemon`.
    let Ok(Some(nobody)) = nix::unistd::User::from_name("nobody") else {
        return skipped("there is no user nobody");
    };
    let uid = nobody.uid.as_raw();
    let changes = [(
        "first_uid = 1\n",
        "first_uid = 1\nlast_uid = 65534\nmechanisms = [\"user\", \"apop\"]\n",
    )];
    let host = Host::with(&[user("nobody", uid, &spool(1))], "", &changes);
    chown(host.spool("nobody"), Some(uid), Some(nobody.gid.as_raw())).unwrap();
    let hash = Command::new("openssl")
        .args(["passwd", "-6", "-salt", "saltsalt", "of the system"])
        .output()
        .unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let shadow = format!(
        "root:*:19000:0:99999:7:::\ndaemon:!:19000:0:99999:7:::\nlocked:!{0}:19000::::::\nnobody:{0}:19000:0:99999:7:::\n",
        hash.trim()
    );
    std::fs::write(host.at("shadow"), shadow).unwrap();
    // A line as `popward import-popauth` writes it for an APOP user.
    std::fs::write(host.at("users"), "apopper:{PLAIN}of popauth::\n").unwrap();
    let command = of_shadow()
        .replace("/etc/shadow", host.at("shadow").to_str().unwrap())
        .replace("/etc/popward/users", host.at("users").to_str().unwrap());
    let status = Command::new("sh").args(["-c", &command]).status();
    assert!(status.unwrap().success());
    let users = std::fs::read_to_string(host.at("users")).unwrap();
    assert_eq!(users.lines().count(), 2, "{users}");
    // The file had no line without ids when auth began, so auth cannot look up a system's user yet.
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("configuration reloaded");
    let mut client = host.connect_any();
    host::assert_ok(&client.ask("USER nobody"));
    host::assert_ok(&client.ask("PASS of the system"));
    host::assert_ok(&client.ask("QUIT"));
    // Of two lines with one name the first counts.
    std::fs::write(
        host.at("users"),
        format!("nobody:{{PLAIN}}first:::\n{users}"),
    )
    .unwrap();
    let mut client = host.connect_any();
    host::assert_ok(&client.ask("USER nobody"));
    host::assert_err(&client.ask("PASS of the system"));
    host::assert_ok(&client.ask("USER nobody"));
    host::assert_ok(&client.ask("PASS first"));
}
