//! A worker, or the whole server, is killed in an update. A worker finishes it at once, at the next
//! login or at the next start.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, PATIENCE, assert_err, assert_ok, at_once, crash, length, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Messages of about 100 KB each, so that an update takes a while.
fn large() -> Vec<String> {
    let body = "x".repeat(70) + "\n";
    (1..=300)
        .map(|number| host::message(number, &body.repeat(1500)))
        .collect()
}

/// Deletes the second and the fifth message, and sends QUIT. The first message stays, so the bytes
/// before the gap must stay in place.
fn quit(host: &Host) -> host::Client {
    let mut client = host.login("alice");
    assert_ok(&client.ask("DELE 2"));
    assert_ok(&client.ask("DELE 5"));
    client.send(b"QUIT\r\n");
    client
}

/// How many octets RETR sends of all these messages.
fn octets(messages: &[String]) -> usize {
    let octets = |message: &String| {
        let text = &message[message.find('\n').unwrap() + 1..message.len() - 1];
        text.len() + text.matches('\n').count()
    };
    messages.iter().map(octets).sum()
}

/// Asserts what the `times`th session's last log line says about its update.
fn assert_ended(host: &Host, times: usize, before: &[String], after: &[String]) {
    let end = host.logged_times("] end session=", times);
    let (all, left) = (octets(before), octets(after));
    let expected = format!(
        " deleted={} deleted_octets={} left={} left_octets={left} ",
        before.len() - after.len(),
        all - left,
        after.len(),
    );
    assert!(end.contains(&expected), "{expected:?}: {end}");
}

fn without(mut messages: Vec<String>) -> Vec<String> {
    messages.remove(4);
    messages.remove(1);
    messages
}

#[test]
fn p3_an_update_whose_worker_is_killed_is_finished_at_once() {
    let mut left = large();
    let host = Host::start(&[user("alice", 64401, left.concat().as_bytes())]);
    // How long an update takes that nobody disturbs. The first session also makes what is made only
    // once, so the second one counts.
    let mut whole = PATIENCE;
    for session in [1, 2] {
        let mut client = quit(&host);
        let start = std::time::Instant::now();
        assert_ok(&client.line());
        whole = start.elapsed();
        let all = left;
        left = without(all.clone());
        assert_ended(&host, session, &all, &left);
    }
    let (mut finished, mut unchanged) = (0, 0);
    for step in 0.. {
        let wait = whole * (step % 16) / 14;
        let mut client = quit(&host);
        std::thread::sleep(wait);
        for worker in host.children("popward-worker") {
            // The worker may have ended already.
            let _ = kill(Pid::from_raw(worker), Signal::SIGKILL);
        }
        let answer = client.line();
        let after = without(left.clone());
        // Nobody had to log in to finish the update, and the spool is free.
        let bytes = host.bytes("alice");
        assert!(!host.spool("alice.lock").exists());
        // Each step has this session and one that sends STAT.
        let session = 2 * step as usize + 3;
        if bytes == after.concat().as_bytes() {
            assert_ended(&host, session, &left, &after);
            left = after;
            finished += 1;
            assert_ok(&answer);
        } else {
            assert!(bytes == left.concat().as_bytes(), "after {wait:?}");
            unchanged += 1;
            assert_err(&answer);
            assert_ended(&host, session, &left, &left);
        }
        assert!(!host.at("state/alice/journal").exists());
        let stat = host.login("alice").ask("STAT");
        assert!(stat.starts_with(&format!("+OK {} ", left.len())), "{stat}");
        let by_another = host.log().contains("finished an update");
        if step >= 15 && finished > 0 && unchanged > 0 && by_another {
            return;
        }
        assert!(
            step < 120,
            "{finished} finished, by another: {by_another}, {unchanged} unchanged"
        );
    }
}

/// The dotlock stays until the update is done, even if a worker that finishes it is killed. So no
/// other program can get in between.
#[test]
fn p3_the_worker_that_finishes_an_update_may_be_killed_too() {
    let messages = large();
    let after = without(messages.clone()).concat();
    let old = messages.concat();
    let host = Host::start(&[user("alice", 64401, old.as_bytes())]);
    let journal = host.at("state/alice/journal");
    let (mut finished, mut killed) = (0, 0);
    for _ in 0..40 {
        std::fs::write(host.spool("alice"), &old).unwrap();
        let mut client = quit(&host);
        at_once("the update begins", || {
            journal.exists() || length(&host.spool("alice")) == after.len()
        });
        let mut pids: Vec<i32> = Vec::new();
        at_once("three are killed, or it is finished", || {
            for worker in host.children("popward-worker") {
                if !pids.contains(&worker) && kill(Pid::from_raw(worker), Signal::SIGKILL).is_ok() {
                    pids.push(worker);
                }
            }
            pids.len() >= 3 || !journal.exists()
        });
        until("it is finished", || {
            let locked = host.spool("alice.lock").exists();
            let stands = journal.exists();
            // The test looked at the lock first. The lock may go only after the journal.
            assert!(locked || !stands, "half moved, and free for all");
            !locked && !stands
        });
        if host.bytes("alice") == after.as_bytes() {
            assert_ok(&client.line());
            finished += 1;
            killed += usize::from(pids.len() > 1);
        } else {
            assert_err(&client.line());
            assert!(host.bytes("alice") == old.as_bytes());
        }
        if killed == 3 {
            return;
        }
    }
    panic!("{finished} finished, {killed} times by others than the first who came to do it");
}

/// Nobody may read a half moved spool. So the dotlock stays until the user's next login takes it
/// over and finishes the update.
#[test]
fn p3_a_spool_stays_locked_while_nobody_can_finish_its_update() {
    let messages = large();
    let after = without(messages.clone()).concat();
    let old = messages.concat();
    let host = Host::start(&[user("alice", 64401, old.as_bytes())]);
    let journal = host.at("state/alice/journal");
    for _ in 0..40 {
        std::fs::write(host.spool("alice"), &old).unwrap();
        let mut client = quit(&host);
        let mut pids: Vec<i32> = Vec::new();
        at_once("all are killed, or it is finished", || {
            for worker in host.children("popward-worker") {
                let updates = !pids.is_empty() || journal.exists();
                let new = updates && !pids.contains(&worker);
                if new && kill(Pid::from_raw(worker), Signal::SIGKILL).is_ok() {
                    pids.push(worker);
                }
            }
            pids.len() >= 4 || length(&host.spool("alice")) == after.len()
        });
        let answer = client.until_end();
        if pids.len() < 4 || !journal.exists() {
            continue;
        }
        assert_err(&answer);
        assert!(host.children("popward-worker").is_empty());
        assert!(host.spool("alice.lock").exists(), "free for all");
        let stat = host.login("alice").ask("STAT");
        assert!(stat.starts_with("+OK 298 "), "{stat}");
        assert!(host.bytes("alice") == after.as_bytes());
        return;
    }
    panic!("always finished");
}

#[test]
fn p3_an_update_that_a_killed_server_left_is_finished_at_the_next_start() {
    let messages = large();
    let after = without(messages.clone()).concat();
    let old = messages.concat();
    let mut host = Host::start(&[user("alice", 64401, old.as_bytes())]);
    let mut found = 0;
    for step in 0..40 {
        std::fs::write(host.spool("alice"), &old).unwrap();
        let _client = quit(&host);
        let journal = host.at("state/alice/journal");
        at_once("the update begins", || {
            journal.exists() || length(&host.spool("alice")) == after.len()
        });
        std::thread::sleep(std::time::Duration::from_millis(step % 8));
        crash(&host);
        let stood = journal.exists();
        let locked = host.spool("alice.lock").exists();
        host.start_again();
        until("the spool is free", || {
            !host.spool("alice.lock").exists() && !journal.exists()
        });
        assert!(host.bytes("alice") == after.as_bytes());
        if stood && locked {
            host.logged("finished an update");
            found += 1;
        }
        if found == 3 {
            return;
        }
    }
    panic!("{found} times killed in an update");
}

/// Only a login finds what is left of an update if the spool is at home. That session can then have
/// an update of its own.
#[test]
fn p3_a_session_that_finishes_an_old_update_can_delete_too() {
    let messages = large();
    let old = messages.concat();
    let (mut host, mbox) = Host::with_home(&user("alice", 64401, old.as_bytes()));
    let journal = host.at("state/alice/journal");
    for step in 0..40 {
        std::fs::write(&mbox, &old).unwrap();
        let _client = quit(&host);
        at_once("the update begins", || {
            journal.exists() || host.children("popward-worker").is_empty()
        });
        std::thread::sleep(std::time::Duration::from_millis(step % 8));
        crash(&host);
        let stood = journal.exists();
        host.start_again();
        let mut client = host.login("alice");
        let mut left = without(messages.clone());
        assert_ok(&client.ask("DELE 3"));
        assert_ok(&client.ask("QUIT"));
        left.remove(2);
        assert!(std::fs::read(&mbox).unwrap() == left.concat().as_bytes());
        assert!(!journal.exists() && !mbox.with_file_name("mbox.lock").exists());
        if stood {
            host.logged("finished an update");
            return;
        }
    }
    panic!("never killed in an update");
}

#[test]
fn p2_a_dotlock_that_a_killed_server_left_is_removed_at_the_next_start() {
    let mut host = Host::start(&[
        user("alice", 64401, &spool(3)),
        user("bob", 64402, &spool(3)),
    ]);
    let _client = host.login("alice");
    crash(&host);
    assert!(host.spool("alice.lock").exists());
    // Another program's lock, which names no process of this host. popward must not remove it.
    std::fs::write(host.spool("bob.lock"), "0").unwrap();
    host.start_again();
    until("the dotlock goes", || !host.spool("alice.lock").exists());
    assert!(host.spool("bob.lock").exists());
    assert!(host.login("alice").ask("STAT").starts_with("+OK 3 "));
}
