//! A reload starts new processes with the new configuration. The old ones serve their connections
//! to the end.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, root, spool, until, user};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Users `NAME0`, `NAME1` and so on.
fn users(name: &str, count: u32, first_uid: u32) -> Vec<host::User> {
    let one = |number| {
        let name: &'static str = Box::leak(format!("{name}{number}").into_boxed_str());
        user(name, first_uid + number, &spool(1))
    };
    (0..count).map(one).collect()
}

/// Has the configuration read again with what `change` makes of it.
#[track_caller]
fn reload(host: &Host, change: impl Fn(String) -> String) {
    let path = host.at("popward.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(config)).unwrap();
    let output = host.reload(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// The subject of the certificate that is shown now.
fn subject(host: &Host) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect"])
        .arg(format!("127.0.0.1:{}", host.tls))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("subject="));
    line.unwrap_or_default().to_owned()
}

/// A pair of files `NUMBER.pem` and `NUMBER.key`.
fn certificate(host: &Host, number: u32) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
        .arg(format!("/CN=number{number}"))
        .arg("-keyout")
        .arg(host.at(&format!("{number}.key")))
        .arg("-out")
        .arg(host.at(&format!("{number}.pem")))
        .output()
        .unwrap();
    assert!(made.status.success());
}

/// The next certificate, another limit, and another password file.
fn changed(host: &Host, config: String, number: u32) -> String {
    certificate(host, number);
    let list = host.at(&format!("users{number}"));
    std::fs::copy(host.at("users"), &list).unwrap();
    host::for_auth(&list);
    let lines = config.lines().map(|line| {
        let key = line.split(" = ").next().unwrap();
        let path = |name: String| format!("{key} = {:?}", host.at(&name));
        match key {
            "chain" => path(format!("{number}.pem")),
            "key" => path(format!("{number}.key")),
            "passwd_file" => path(format!("users{number}")),
            "bad_commands" => format!("bad_commands = {}", 10 + number),
            _ => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

const LIMITS: &str = "[limits]\nbad_commands = 10\nconnections_per_address = 2000\n\
    connections_per_prefix = 2000\nconnections_per_minute = 0\n";

#[test]
fn no_session_is_cut_and_no_login_fails_by_ten_reloads_under_load() {
    const OPEN: u32 = 200;
    const THREADS: u32 = 5;
    let mut all = users("open", OPEN, 64500);
    all.extend(users("short", THREADS, 64800));
    let host = Host::with(&all, LIMITS, &[]);
    let mut sessions: Vec<_> = (0..OPEN).map(|n| host.login(&format!("open{n}"))).collect();
    let (over, logins) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (host, over, logins) = (&host, &over, &logins);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let next = Instant::now() + Duration::from_millis(100);
                    let mut client = host.login(&format!("short{thread}"));
                    assert_ok(&client.ask("STAT"));
                    assert_ok(&client.ask("QUIT"));
                    logins.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        let reloads = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=10 {
                reload(&host, |config| changed(&host, config, number));
                // The old front may have accepted a connection that came as the reload was done.
                let expected = format!("number{number}");
                until("the new certificate is shown", || {
                    subject(&host).ends_with(&expected)
                });
            }
        }));
        over.store(true, Ordering::SeqCst);
        if let Err(panic) = reloads {
            std::panic::resume_unwind(panic);
        }
    });
    let (logins, seconds) = (logins.into_inner(), begun.elapsed().as_secs_f64());
    let figures = format!("{OPEN} sessions, {logins} logins and 10 reloads in {seconds:.1} s\n");
    std::io::stderr().write_all(figures.as_bytes()).unwrap();
    for session in &mut sessions {
        assert_ok(&session.ask("STAT"));
        assert_ok(&session.ask("QUIT"));
    }
    until("the last of the old processes have ended", || {
        ["popward-front", "popward-auth", "popward-keys"]
            .iter()
            .all(|name| host.children(name).len() == 1)
    });
    let log = host.log();
    for bad in [
        "process died",
        "broke the rules",
        "channel ended",
        "not handed over",
    ] {
        assert!(!log.contains(bad), "{bad}");
    }
}

#[test]
fn p9_a_guesser_gains_no_try_and_an_account_no_login_by_a_reload() {
    let people = [
        user("alice", 64401, &spool(1)),
        user("bob", 64402, &spool(1)),
    ];
    let auth = [(
        "[auth]\n",
        "[auth]\naccount_failures = 3\nlogin_delay = \"3600s\"\n",
    )];
    let host = Host::with(&people, "", &auth);
    let fails = || {
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        client.ask("PASS wrong")
    };
    drop(host.login("bob"));
    assert_err(&fails());
    reload(&host, |config| config);
    assert_err(&fails());
    // Of a connection of the generation before, whose login the new auth decides.
    let mut old = host.connect();
    reload(&host, |config| config);
    assert_ok(&old.ask("USER alice"));
    assert_err(&old.ask("PASS wrong"));
    reload(&host, |config| config);
    let mut right = host.connect();
    assert_ok(&right.ask("USER alice"));
    assert_err(&right.ask("PASS alice"));
    let mut again = host.connect();
    assert_ok(&again.ask("USER bob"));
    let said = again.ask("PASS bob");
    assert!(said.starts_with("-ERR [LOGIN-DELAY]"), "{said}");
    host.logged("too many failures: nothing is checked for this user for a while");
}

/// The old auth still checks the password when the new one takes over. The guess counts at the new
/// one too.
#[test]
fn p9_a_guess_under_way_at_a_reload_counts() {
    let auth = [(
        "failure_delay = \"200ms\"\n",
        "failure_delay = \"200ms\"\nsource_failures = 2\nsource_exempt = []\nsource_wait_max = \"8s\"\naccount_failures = 3\n",
    )];
    let host = Host::with(&[user("alice", 64401, &spool(1))], "", &auth);
    let begin = |password: &str| {
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        client.send(format!("PASS {password}\r\n").as_bytes());
        client
    };
    assert_err(&begin("wrong").line());
    assert_err(&begin("wrong").line());
    // The source waits, so that this one is with the old auth when the new one takes over.
    let mut held = begin("wrong");
    reload(&host, |config| config);
    assert_err(&held.line());
    assert_err(&begin("alice").line());
    host.logged("too many failures: nothing is checked for this user for a while");
}

/// The old front ends before the old auth hands over. The old auth was ended then, and its memory
/// was lost.
#[test]
fn p9_an_old_auth_hands_over_although_its_fronts_have_ended() {
    let auth = [("[auth]\n", "[auth]\naccount_failures = 1\n")];
    let host = Host::with(&[user("alice", 64401, &spool(1))], "", &auth);
    let ask = |password: &str| {
        let mut client = host.connect();
        assert_ok(&client.ask("USER alice"));
        client.ask(&format!("PASS {password}"))
    };
    assert_err(&ask("wrong"));
    let old = host.children("popward-auth")[0];
    let signal = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), signal).unwrap();
    signal(nix::sys::signal::Signal::SIGSTOP);
    reload(&host, |config| config);
    until("the old front has ended", || {
        host.children("popward-front").len() == 1
    });
    // A process that the monitor lets go has 5 s.
    std::thread::sleep(Duration::from_secs(6));
    signal(nix::sys::signal::Signal::SIGCONT);
    assert_err(&ask("alice"));
    host.logged("too many failures: nothing is checked for this user for a while");
    assert!(!host.log().contains("not handed over"), "{}", host.log());
}

#[test]
fn a_generation_that_cannot_serve_changes_nothing_and_the_error_names_the_file() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let processes = || {
        let all = ["popward-front", "popward-auth", "popward-keys"];
        all.map(|name| host.children(name))
    };
    let first = processes();
    let mut alice = host.login("alice");
    certificate(&host, 1);
    let path = host.at("popward.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    // Another certificate's key; and no key at all.
    std::fs::write(host.at("none.key"), "none").unwrap();
    for key in ["1.key", "none.key"] {
        std::fs::write(&path, good.replace("key.pem", key)).unwrap();
        let output = host.reload(&[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(key), "{said}");
        until("the processes that could not serve end", || {
            processes() == first
        });
    }
    assert_ok(&alice.ask("STAT"));
    assert!(subject(&host).contains("localhost"));
    drop(alice);
    std::fs::write(&path, &good).unwrap();
    reload(&host, |config| config);
    until("the old processes end", || {
        let now = processes();
        now.iter().all(|of| of.len() == 1) && now.iter().zip(&first).all(|(now, old)| now != old)
    });
}

/// The descriptors of the supervisor and of popward-log, and how many other processes there are.
fn held(host: &Host) -> (usize, usize, usize) {
    let open = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |all| all.count());
    let log = host.children("popward-log")[0];
    let others = host::descendants(host.pid()).len();
    (open(host.pid()), open(log), others)
}

/// Ten reloads succeed, some of them with a session that the old processes still serve. Others
/// fail: in popward-config, and when auth reads a list that only auth opens.
#[test]
fn p8_reloads_leave_no_descriptor_open_and_no_process_behind() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    if !root() {
        host::skipped("the descriptors of other processes are shown to root");
    }
    drop(host.login("alice"));
    until("the first session's worker has ended", || {
        held(&host).2 == 6
    });
    let before = held(&host);
    let path = host.at("popward.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let list = host.at("deny");
    std::fs::write(&list, "../alice\n").unwrap();
    std::fs::set_permissions(&list, PermissionsExt::from_mode(0o644)).unwrap();
    let list = format!("[auth]\ndeny_file = {list:?}\n");
    for number in 1..=10 {
        let session = (number % 3 == 0).then(|| host.login("alice"));
        for bad in [
            good.replace("[auth]", "[nonsense]"),
            good.replace("[auth]\n", &list),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(!host.reload(&[]).status.success());
        }
        std::fs::write(&path, &good).unwrap();
        reload(&host, |config| config);
        drop(session);
    }
    until("all is as it was", || held(&host) == before);
}

#[test]
fn a_reload_waits_while_connections_of_two_earlier_configurations_last() {
    let names = ["alice", "bob", "carol"];
    let people: Vec<_> = (64401..)
        .zip(names)
        .map(|(uid, name)| user(name, uid, &spool(1)))
        .collect();
    let host = Host::start(&people);
    let mut logins = 0;
    // The front before may accept a connection that comes as a reload is done. Each monitor numbers
    // its fronts from another number on.
    let mut session_at = |front: &str, name: &str| {
        for _ in 0..100 {
            let mut client = host.login(name);
            logins += 1;
            let line = host.logged_times("] login session=", logins);
            if line.contains(&format!(" session={front}.")) {
                return client;
            }
            assert_ok(&client.ask("QUIT"));
        }
        panic!("front {front} accepts nobody")
    };
    let mut alice = session_at("1", "alice");
    reload(&host, |config| config);
    let mut bob = session_at("1001", "bob");
    reload(&host, |config| config);
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.logged("reload waits for the last connections of an earlier configuration");
    let mut carol = session_at("2001", "carol");
    assert_eq!(host.log().matches("configuration reloaded").count(), 2);
    assert_ok(&alice.ask("QUIT"));
    host.logged_times("configuration reloaded", 3);
    for session in [&mut bob, &mut carol] {
        assert_ok(&session.ask("QUIT"));
    }
}

#[test]
fn sigterm_ends_all_generations_in_order() {
    let mut host = Host::start(&[
        user("alice", 64401, &spool(1)),
        user("bob", 64402, &spool(1)),
        user("carol", 64403, &spool(1)),
    ]);
    let mut alice = host.login("alice");
    // The auth of the newest generation will decide this login.
    let mut carol = host.connect();
    reload(&host, |config| config);
    let mut bob = host.login("bob");
    host.signal(nix::sys::signal::Signal::SIGHUP);
    host.signal(nix::sys::signal::Signal::SIGTERM);
    host.logged("ending: no new connections");
    for client in [&mut bob, &mut alice] {
        assert_ok(&client.ask("DELE 1"));
        assert_ok(&client.ask("QUIT"));
    }
    assert_ok(&carol.ask("USER carol"));
    assert_ok(&carol.ask("PASS carol"));
    assert_ok(&carol.ask("QUIT"));
    assert_eq!(host.stop(), Some(0));
    assert_eq!(host.bytes("alice"), b"");
    assert!(!host.log().contains("process died"));
}

#[test]
fn a_death_of_an_old_child_ends_only_what_it_served() {
    let host = Host::start(&[
        user("alice", 64401, &spool(1)),
        user("bob", 64402, &spool(1)),
    ]);
    let (front, keys) = (
        host.children("popward-front"),
        host.children("popward-keys"),
    );
    let mut alice = host.login("alice");
    reload(&host, |config| config);
    let mut bob = host.login("bob");
    for (child, name) in [(keys[0], "keys"), (front[0], "front")] {
        let pid = nix::unistd::Pid::from_raw(child);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        host.logged(&format!("process died process={name} pid={child}"));
    }
    assert_eq!(alice.line(), "");
    assert_ok(&bob.ask("STAT"));
    reload(&host, |config| config);
    assert_ok(&bob.ask("QUIT"));
    assert_ok(&host.login("alice").ask("QUIT"));
}
