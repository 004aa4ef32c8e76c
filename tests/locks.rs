//! Programs that share spools with popward fail or wait during a session, and get in after QUIT
//! (promise P2).

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_ok, message, root, skipped, spool, until, user};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

fn one() -> [host::User; 1] {
    [user("alice", 64401, &spool(3))]
}

fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

/// The command as alice, with the spool directory's group, as delivery agents have it.
fn as_alice(program: &str) -> Command {
    let mut command = Command::new(program);
    if root() {
        command.uid(64401).gid(host::MAIL);
    }
    command
}

/// Tries to take another kind of lock on the spool. Returns whether it got the lock.
fn lockable(host: &Host, call: &str) -> bool {
    let script = format!(
        "import fcntl,sys\nf=open(sys.argv[1],'r+')\ntry:\n  fcntl.{call}(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError:\n  sys.exit(1)\n"
    );
    let status = as_alice("python3")
        .args(["-c", &script])
        .arg(host.spool("alice"))
        .status()
        .unwrap();
    status.success()
}

#[test]
fn p2_fcntl_flock_and_dotlock_are_held_for_the_whole_session() {
    let host = Host::start(&one());
    let dotlock = host.at("mail/alice.lock");
    assert!(lockable(&host, "lockf") && lockable(&host, "flock"));
    let mut client = host.login("alice");
    for command in ["STAT", "RETR 1", "DELE 1", "NOOP"] {
        client.send(format!("{command}\r\n").as_bytes());
        assert_ok(&client.line());
        if command == "RETR 1" {
            client.rest();
        }
        // exim and mutt take fcntl locks, postfix's local and procmail take flock too, and all take
        // the dotlock.
        assert!(!lockable(&host, "lockf"), "fcntl after {command}");
        assert!(!lockable(&host, "flock"), "flock after {command}");
        assert!(dotlock.exists(), "dotlock after {command}");
    }
    let text = std::fs::read_to_string(&dotlock).unwrap();
    let worker = host.children("popward-worker")[0];
    assert!(text.starts_with(&format!("{worker}:")), "{text}");
    assert_ok(&client.ask("QUIT"));
    assert!(!dotlock.exists());
    assert!(lockable(&host, "lockf") && lockable(&host, "flock"));
}

#[test]
fn p2_dotlockfile_fails_during_a_session_and_succeeds_after_it() {
    if !has("dotlockfile") {
        return;
    }
    let host = Host::start(&one());
    let lock = host.at("mail/alice.lock");
    let try_lock = |retries: &str| {
        // Exit code 4: it gave up. It must be able to write to the directory, as it is when
        // installed setgid.
        let status = as_alice("dotlockfile")
            .args(["-r", retries, "-l"])
            .arg(&lock)
            .status();
        status.unwrap().code()
    };
    let mut client = host.login("alice");
    assert_eq!(try_lock("0"), Some(4));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(try_lock("0"), Some(0));
    // The other way round: the session fails while the other program has the lock.
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    let answer = client.ask("PASS alice");
    assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    std::fs::remove_file(&lock).unwrap();
    host.login("alice");
}

/// What the log says after a login that was refused because of a lock.
fn refused(host: &Host) -> String {
    let mut client = host.connect();
    assert_ok(&client.ask("USER alice"));
    let answer = client.ask("PASS alice");
    assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    host.logged("maildrop not opened session=")
}

#[test]
fn a_refusal_names_the_session_that_holds_the_lock() {
    let host = Host::start(&one());
    let _first = host.login("alice");
    let login = host.logged(" login ");
    let session = login.split("session=").nth(1).unwrap();
    let session = session.split_ascii_whitespace().next().unwrap();
    let worker = host.children("popward-worker")[0];
    let held = format!("the dotlock is held by session {session} of popward (process {worker})");
    let line = refused(&host);
    assert!(line.contains(&held), "{line}");
}

#[test]
fn a_refusal_names_the_program_that_holds_the_lock() {
    if !has("flock") {
        return;
    }
    let host = Host::with(&one(), "locks = [\"flock\"]\n", &[]);
    let mut holder = as_alice("flock")
        .arg(host.spool("alice"))
        .args(["-c", "echo locked; read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let output = holder.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut said).unwrap();
    let line = refused(&host);
    let held = format!("the flock is held by flock (process {})", holder.id());
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(line.contains(&held), "{line}");
}

#[test]
fn p2_procmail_waits_for_the_session_and_delivers_after_it() {
    if !has("procmail") {
        return;
    }
    let host = Host::start(&one());
    let mut client = host.login("alice");
    let recipe = host.at("procmailrc");
    let spool_path = host.spool("alice");
    std::fs::write(
        &recipe,
        format!(
            "LOCKSLEEP=1\nLOCKTIMEOUT=0\nDEFAULT={0}\n:0:\n{0}\n",
            spool_path.display()
        ),
    )
    .unwrap();
    let mut procmail = as_alice("procmail")
        .arg(&recipe)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mail = message(9, "delivered by procmail");
    procmail
        .stdin
        .take()
        .unwrap()
        .write_all(mail.as_bytes())
        .unwrap();
    // procmail has read its mail and waits for the lock.
    for _ in 0..20 {
        assert_ok(&client.ask("NOOP"));
        assert!(procmail.try_wait().unwrap().is_none(), "procmail got in");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(host.bytes("alice"), spool(3));
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert!(procmail.wait().unwrap().success());
    let bytes = String::from_utf8(host.bytes("alice")).unwrap();
    let kept = String::from_utf8(host::spool_of([2, 3])).unwrap();
    assert!(
        bytes.starts_with(&kept) && bytes[kept.len()..].contains("delivered by procmail"),
        "{bytes}"
    );
    let mut client = host.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 3 "));
}

#[test]
fn p2_p7_a_killed_worker_leaves_no_lock_and_an_unchanged_spool() {
    let host = Host::start(&one());
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    let worker = host.children("popward-worker")[0];
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("no dotlock", || !host.at("mail/alice.lock").exists());
    let rest = client.until_end();
    assert!(
        rest.is_empty() || rest.starts_with("-ERR [SYS/TEMP]"),
        "{rest}"
    );
    assert_eq!(host.bytes("alice"), spool(3));
    assert!(lockable(&host, "lockf") && lockable(&host, "flock"));
    host.login("alice");
}

/// Kills the worker of one session, and deletes in another one. The dotlock is beside `spool`.
fn locks_beside(host: &Host, spool: &std::path::Path) {
    let lock = spool.with_file_name(format!(
        "{}.lock",
        spool.file_name().unwrap().to_str().unwrap()
    ));
    let _client = host.login("alice");
    let made = std::fs::symlink_metadata(&lock).unwrap();
    let owner = std::fs::metadata(spool).unwrap();
    assert_eq!(made.uid(), owner.uid());
    let worker = host.children("popward-worker")[0];
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("no dotlock", || !lock.exists());
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("QUIT"));
    assert_eq!(std::fs::read(spool).unwrap(), host::spool_of([1, 3]));
    assert!(!lock.exists());
}

#[test]
fn p2_dotlocks_are_made_and_removed_in_a_directory_that_everybody_may_write_to() {
    let group = format!("group = {}\n", host::MAIL);
    let none = (group.as_str(), "");
    let changes: &[_] = if root() { &[none] } else { &[] };
    let host = Host::with(&one(), "", changes);
    std::fs::set_permissions(host.at("mail"), PermissionsExt::from_mode(0o1777)).unwrap();
    locks_beside(&host, &host.spool("alice"));
}

#[test]
fn p2_dotlocks_are_made_and_removed_in_the_users_own_home() {
    let (host, mbox) = Host::with_home(&one()[0]);
    locks_beside(&host, &mbox);
}

/// A program that takes no lock, or another one, can do this.
#[test]
fn p3_a_spool_that_is_replaced_during_a_session_is_not_updated() {
    let host = Host::start(&one());
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    let owner = std::fs::metadata(host.spool("alice")).unwrap();
    let new = host.at("mail/new");
    std::fs::write(&new, spool(3)).unwrap();
    std::os::unix::fs::chown(&new, Some(owner.uid()), Some(owner.gid())).unwrap();
    std::fs::rename(&new, host.spool("alice")).unwrap();
    host::assert_err(&client.ask("QUIT"));
    assert!(host.logged("update failed").contains("the spool replaced"));
    assert_eq!(host.bytes("alice"), spool(3));
    assert!(!host.at("state/alice/journal").exists());
}

#[test]
fn p2_the_monitor_removes_only_the_dotlock_that_its_worker_made() {
    let host = Host::start(&one());
    let lock = host.at("mail/alice.lock");
    let _client = host.login("alice");
    let worker = host.children("popward-worker")[0];
    // Another program broke the lock and made its own.
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(&lock, "1:elsewhere").unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(worker),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("the worker is gone", || {
        host.children("popward-worker").is_empty()
    });
    host.logged("why=");
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "1:elsewhere");
}

#[test]
fn p2_a_session_whose_dotlock_was_taken_writes_nothing() {
    let host = Host::start(&one());
    let lock = host.at("mail/alice.lock");
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 1"));
    std::fs::remove_file(&lock).unwrap();
    host::assert_err(&client.ask("QUIT"));
    assert_eq!(host.bytes("alice"), spool(3));
}
