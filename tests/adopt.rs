//! A move from another server: before a user's first session popward-adopt pins the UIDLs that the
//! old server gave.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, assert_ok, at_once, large_spool, message, root, skipped, until, user};
use nix::sys::signal::{Signal, kill};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ADOPT: &str = "[adopt]\nfrom = [\"popa3d\"]\n";

fn vector(name: &str) -> PathBuf {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("privsep/mbox/tests/vectors");
    vectors.join(name)
}

/// The UIDLs that popa3d answered for this spool.
fn old_uidls(name: &str) -> Vec<String> {
    let session = fs::read(vector(&format!("popa3d/{name}.txt"))).unwrap();
    let session = String::from_utf8_lossy(&session);
    let lines = session.lines().skip_while(|line| *line != "C: UIDL");
    let listed = lines.skip(2).take_while(|line| !line.starts_with("S: ."));
    let uidl = |line: &str| {
        let line = line.trim_end_matches("\\r\\n");
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let uidls: Vec<String> = listed.map(uidl).collect();
    assert!(!uidls.is_empty());
    uidls
}

fn uidls(client: &mut Client) -> Vec<String> {
    let listed = client.multi("UIDL");
    let uidl = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    listed.lines().map(uidl).collect()
}

fn answer(host: &Host) -> String {
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    client.ask("PASS alice")
}

/// Waits until the monitor knows that the `times`th adoption that failed has ended. Until then, it
/// answers further logins `[IN-USE]`.
fn until_failed(host: &Host, times: usize) {
    let line = host.logged_times("maildrop not adopted", times);
    let pid = line.split_once(" adopt[").unwrap().1;
    until_reaped(pid.split_once(']').unwrap().0);
}

fn until_reaped(pid: &str) {
    let process = Path::new("/proc").join(pid);
    until("popward-adopt ends", || !process.exists());
}

fn until_free(host: &Host) {
    until("the worker ends", || {
        host.children("popward-worker").is_empty()
    });
}

#[test]
fn p5_a_first_session_gives_the_old_servers_uidls_and_later_mail_has_native_ones() {
    for name in ["plain", "one", "xuidl"] {
        let spool = fs::read(vector(&format!("{name}.mbox"))).unwrap();
        let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
        let old = old_uidls(name);
        assert_eq!(uidls(&mut host.login("alice")), old, "{name}");
        until_free(&host);
        let all = [spool, message(900, "came later").into_bytes()].concat();
        fs::write(host.spool("alice"), &all).unwrap();
        let mut client = host.login("alice");
        let now = uidls(&mut client);
        assert_eq!(now[..old.len()], old, "{name}");
        assert_eq!(now[old.len()].len(), 32, "{name}: a native UIDL");
        // The UIDLs stay when a message goes, and without the index.
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
        let _ = fs::remove_file(host.at("state/alice/index"));
        assert_eq!(uidls(&mut host.login("alice")), now[1..], "{name}");
        assert_eq!(
            host.log().matches("adopted session=").count(),
            1,
            "{name}: once"
        );
    }
}

/// popa3d gave equal messages one UIDL. RFC 1939 forbids that, so the first message keeps it.
#[test]
fn p5_of_equal_messages_the_first_keeps_the_old_servers_uidl() {
    let spool = fs::read(vector("dup.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    let old = old_uidls("dup");
    assert_eq!((&old[0], &old[2]), (&old[1], &old[3]), "as popa3d answered");
    let [first, third] = [&old[0], &old[2]];
    let expected = [
        first.clone(),
        format!("{first}-2"),
        third.clone(),
        format!("{third}-2"),
    ];
    assert_eq!(uidls(&mut host.login("alice")), expected);
}

#[test]
fn p5_a_user_who_has_had_a_session_keeps_native_uidls() {
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::start(&[user("alice", 64401, &spool)]);
    let native = uidls(&mut host.login("alice"));
    until_free(&host);
    let file = host.at("popward.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}{ADOPT}")).unwrap();
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    assert_eq!(uidls(&mut host.login("alice")), native);
    assert!(!host.log().contains("adopted session="));
}

#[test]
fn p5_a_failed_adoption_opens_no_session_and_is_tried_again() {
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    let pins = host.at("state/alice/pins");
    // Another program has the lock.
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    assert!(answer(&host).starts_with("-ERR [IN-USE]"));
    until_failed(&host, 1);
    fs::remove_file(&lock).unwrap();
    // The file is no mbox.
    fs::write(host.spool("alice"), "no mail\n").unwrap();
    assert!(answer(&host).starts_with("-ERR [SYS/PERM]"));
    assert_eq!(host.bytes("alice"), b"no mail\n");
    fs::write(host.spool("alice"), &spool).unwrap();
    until_failed(&host, 2);
    until("its dotlock goes", || !lock.exists());
    assert!(!pins.exists());
    // popward-adopt dies while it waits for the lock.
    fs::write(&lock, "1:elsewhere").unwrap();
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    client.send(b"PASS alice\r\n");
    until("popward-adopt runs", || {
        host.children("popward-adopt").len() == 1
    });
    let adopt = nix::unistd::Pid::from_raw(host.children("popward-adopt")[0]);
    kill(adopt, Signal::SIGKILL).unwrap();
    assert!(client.line().starts_with("-ERR [SYS/TEMP]"));
    until_reaped(&adopt.to_string());
    fs::remove_file(&lock).unwrap();
    assert_eq!(host.bytes("alice"), spool);
    assert!(!pins.exists());
    assert_eq!(uidls(&mut host.login("alice")), old_uidls("plain"));
}

#[test]
fn p5_without_room_for_the_pins_no_session_is_opened() {
    if !root() {
        return skipped("a small disk: only root can mount one");
    }
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    let state = host.at("state/.adopting.alice");
    fs::create_dir_all(&state).unwrap();
    let flags = nix::mount::MsFlags::empty();
    let options = Some("size=32k,mode=0700,uid=64401,gid=64401");
    chown(&state, Some(64401), Some(64401)).unwrap();
    fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    nix::mount::mount(Some("tmpfs"), &state, Some("tmpfs"), flags, options).unwrap();
    let filler = state.join("filler");
    assert!(fs::write(&filler, vec![1; 64 << 10]).is_err());
    assert!(answer(&host).starts_with("-ERR [SYS/TEMP]"));
    host.logged("pins not written");
    until_failed(&host, 1);
    assert!(!state.join("pins").exists());
    nix::mount::umount2(&state, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(uidls(&mut host.login("alice")), old_uidls("plain"));
}

/// An adoption with an error that looked like an unfinished update made the state directory.
#[test]
fn p5_an_adoption_that_cannot_reach_its_directory_is_tried_again() {
    if !root() {
        return skipped("the server and the user are one: it takes root");
    }
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    fs::set_permissions(host.at("state"), PermissionsExt::from_mode(0o700)).unwrap();
    assert!(answer(&host).starts_with("-ERR [SYS/TEMP]"));
    let line = host.logged("maildrop not adopted");
    assert!(
        line.contains("Permission denied") && !line.contains("journal"),
        "{line}"
    );
    until_failed(&host, 1);
    until_free(&host);
    assert!(!host.at("state/alice").exists());
    fs::set_permissions(host.at("state"), PermissionsExt::from_mode(0o711)).unwrap();
    assert_eq!(uidls(&mut host.login("alice")), old_uidls("plain"));
    assert!(!host.log().contains("process died"));
}

/// mailutils removes the spool under its dotlock before it puts the new spool there.
#[test]
fn p5_a_spool_that_is_away_for_a_moment_is_adopted() {
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    fs::rename(host.spool("alice"), host.at("away")).unwrap();
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    client.send(b"PASS alice\r\n");
    // popward-adopt has time to look for the spool. It waits as long as the lock stands.
    std::thread::sleep(Duration::from_secs(1));
    fs::rename(host.at("away"), host.spool("alice")).unwrap();
    fs::remove_file(&lock).unwrap();
    assert_ok(&client.line());
    assert_eq!(uidls(&mut client), old_uidls("plain"));
}

/// A file system with the spools may not be mounted yet at the first login.
#[test]
fn p5_a_user_without_a_spool_gets_a_session_and_is_adopted_when_it_is_there() {
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    fs::rename(host.spool("alice"), host.at("away")).unwrap();
    let mut client = host.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 0 0"));
    for name in ["state/alice", "state/.adopting.alice"] {
        assert!(!host.at(name).exists(), "{name}");
    }
    assert_ok(&client.ask("QUIT"));
    until_free(&host);
    fs::rename(host.at("away"), host.spool("alice")).unwrap();
    assert_eq!(uidls(&mut host.login("alice")), old_uidls("plain"));
    assert!(!host.log().contains("process died"));
}

/// Each of them adopted in the same directory. The first to end renamed it under the others.
#[test]
fn p5_of_several_first_logins_at_once_one_adopts() {
    let spool = fs::read(vector("plain.mbox")).unwrap();
    let host = Host::with(&[user("alice", 64401, &spool)], ADOPT, &[]);
    let lock = host.spool("alice.lock");
    fs::write(&lock, "1:elsewhere").unwrap();
    let mut clients: Vec<Client> = (0..6).map(|_| host.connect()).collect();
    for client in &mut clients {
        assert_ok(&client.ask("USER alice"));
    }
    for client in &mut clients {
        client.send(b"PASS alice\r\n");
    }
    until("popward-adopt runs", || {
        !host.children("popward-adopt").is_empty()
    });
    std::thread::sleep(Duration::from_millis(500));
    fs::remove_file(&lock).unwrap();
    let mut opened = 0;
    for client in &mut clients {
        let line = client.line();
        assert!(
            line.starts_with("+OK") || line.starts_with("-ERR [IN-USE]"),
            "{line}"
        );
        if line.starts_with("+OK") {
            opened += 1;
            assert_eq!(uidls(client), old_uidls("plain"));
        }
    }
    assert_eq!(opened, 1, "the others come while it has the locks");
    let log = host.log();
    assert!(log.contains("popward-adopt works for another session of theirs"));
    assert_eq!(log.matches("adopted session=").count(), 1);
    assert!(!log.contains("process died"));
}

/// Delivery would wait until the user's next login.
#[test]
fn p2_the_dotlock_of_an_adoption_that_a_crash_ended_is_removed_at_the_start() {
    let users = [user("alice", 64401, &large_spool())];
    let mut host = Host::with(&users, ADOPT, &[]);
    let lock = host.spool("alice.lock");
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    client.send(b"PASS alice\r\n");
    at_once("popward-adopt has the dotlock", || lock.exists());
    let adopt = nix::unistd::Pid::from_raw(host.children("popward-adopt")[0]);
    // A stopped process holds the lock until both are dead.
    kill(adopt, Signal::SIGSTOP).unwrap();
    host.signal(Signal::SIGKILL);
    kill(adopt, Signal::SIGKILL).unwrap();
    host.start_again();
    until("the dotlock is removed", || !lock.exists());
    until_free(&host);
    assert!(!host.at("state/alice").exists());
    drop(host.login("alice"));
    host.logged("adopted session=");
}
