//! popward-metrics: what it counts while a server works, that no server waits for it, and what
//! popwardctl shows of a running server with it and without it.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, built, root, skipped, spool, until, user};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};

const RECORDS: &str = "/run/popward-metrics/records";

/// A popward-metrics that takes records where popward-log sends them.
struct Metrics(Child, u16);

impl Metrics {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(built().join("popward-metrics"));
        command.args([
            "--records",
            RECORDS,
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--sessions",
            "/run/popward-metrics/sessions",
        ]);
        let metrics = Self(command.spawn().unwrap(), port);
        until("it listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        // As SocketUser=nobody in its unit: popward-log is nobody.
        std::fs::set_permissions(RECORDS, PermissionsExt::from_mode(0o666)).unwrap();
        metrics
    }

    fn get(&self, path: &str) -> String {
        let mut client = TcpStream::connect(("127.0.0.1", self.1)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[track_caller]
    fn wait_for(&self, line: &str) {
        until(line, || {
            self.get("/metrics").lines().any(|found| found == line)
        });
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The paths of the sockets are fixed. So this thread and its children have another /run.
fn take_another_run() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::create_dir("/run/popward-metrics").unwrap();
}

#[test]
fn the_counts_are_what_happened_and_no_session_needs_them() {
    if !root() {
        return skipped("a /run of its own");
    }
    take_another_run();
    let metrics = Metrics::start();
    let host = Host::start(&[user("alice", 64_401, &spool(3))]);
    let mut client = host.login("alice");
    metrics.wait_for("popward_sessions 1");
    client.multi("RETR 1");
    assert_ok(&client.ask("DELE 1"));
    assert_ok(&client.ask("QUIT"));
    assert_err(&host.answer("alice", "wrong"));
    for line in [
        "popward_sessions 0",
        "popward_logins_total{method=\"USER/PASS\",tls=\"none\"} 1",
        "popward_login_failures_total{method=\"USER/PASS\"} 1",
        "popward_session_ends_total{why=\"quit\"} 1",
        "popward_retrieved_messages_total 1",
        "popward_deleted_messages_total 1",
        "popward_maildrops_opened_total{how=\"scanned\"} 1",
        "popward_updates_total{outcome=\"done\"} 1",
        "popward_log_records_unreadable_total 0",
    ] {
        metrics.wait_for(line);
    }
    // `-reconnect` resumes the first connection five times.
    let mut openssl = Command::new("openssl");
    openssl
        .args(["s_client", "-tls1_2", "-reconnect", "-connect"])
        .arg(format!("127.0.0.1:{}", host.tls))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
    metrics.wait_for("popward_tls_handshakes_total{kind=\"full\"} 1");
    metrics.wait_for("popward_tls_handshakes_total{kind=\"resumed\"} 5");
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-in"])
        .arg(host.at("cert.pem"))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let date = Command::new("date")
        .args(["+%s", "-d", shown.trim().strip_prefix("notAfter=").unwrap()])
        .output()
        .unwrap();
    let expires = String::from_utf8(date.stdout).unwrap();
    let expiry = format!(
        "popward_certificate_expiry_time_seconds{{number=\"1\",name=\"localhost\"}} {}",
        expires.trim()
    );
    metrics.wait_for(&expiry);
    assert!(metrics.get("/").starts_with("HTTP/1.1 404 "));
    // No user and no address is in the counts.
    let page = metrics.get("/metrics");
    assert!(
        !page.contains("alice") && !page.contains("127.0.0.1"),
        "{page}"
    );

    let status = std::fs::read_to_string(format!("/proc/{}/status", metrics.0.id())).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"] {
        assert!(status.lines().any(|found| found == line), "{status}");
    }

    // Without it, sessions go on. A new one is found.
    drop(metrics);
    assert_ok(&host.login("alice").ask("QUIT"));
    let metrics = Metrics::start();
    until("records come again", || {
        assert_ok(&host.login("alice").ask("QUIT"));
        metrics
            .get("/metrics")
            .contains("popward_logins_total{method=\"USER/PASS\"")
    });

    // The front that told when the certificates expire dies. Its successor tells it.
    assert!(!metrics.get("/metrics").contains(&expiry));
    for front in host.children("popward-front") {
        kill(Pid::from_raw(front), Signal::SIGKILL).unwrap();
    }
    metrics.wait_for(&expiry);
}

/// What `popwardctl` says, and its exit status.
fn ctl(host: &Host, words: &[&str]) -> (String, i32) {
    let mut command = Command::new(host.at("libexec/popwardctl"));
    let output = command.args(words).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    (said, output.status.code().unwrap())
}

#[test]
fn popwardctl_shows_sessions_and_ends_them() {
    if !root() {
        return skipped("a /run of its own");
    }
    take_another_run();
    let metrics = Metrics::start();
    let users =
        ["alice", "bob"].map(|name| user(name, 64_401 + u32::from(name == "bob"), &spool(3)));
    let host = Host::start(&users);
    assert_eq!(ctl(&host, &["sessions"]), ("no session\n".to_owned(), 0));
    assert_eq!(
        ctl(&host, &["kick", "1.1"]),
        ("popwardctl: there is no such session\n".to_owned(), 1)
    );
    let (mut alice, mut bob) = (host.login("alice"), host.login("bob"));
    metrics.wait_for("popward_sessions 2");

    let (text, status) = ctl(&host, &["sessions"]);
    assert_eq!(status, 0, "{text}");
    let row = |name: &str| {
        let line = text.lines().find(|line| line.contains(name));
        line.unwrap_or_else(|| panic!("{name}: {text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    let of_alice = row("alice");
    let session = of_alice[0].to_owned();
    let worker = host
        .children("popward-worker")
        .iter()
        .any(|pid| pid.to_string() == *of_alice.last().unwrap());
    assert!(worker, "{text}");
    assert_eq!(of_alice[2], "127.0.0.1", "{text}");
    assert!(
        of_alice.contains(&"fcntl+flock") && of_alice.contains(&"3"),
        "{text}"
    );
    let (json, _) = ctl(&host, &["sessions", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let of_bob = json
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["user"] == "bob")
        .unwrap();
    assert_eq!(of_bob["uid"], 64_402);
    assert_eq!(of_bob["messages"], 3);
    assert_eq!(of_bob["spool"], host.spool("bob").to_str().unwrap());
    assert_eq!(of_bob["method"], "USER/PASS");

    let (text, status) = ctl(&host, &["status"]);
    assert_eq!(status, 0, "{text}");
    for part in [
        "worker 2",
        "sessions:  2",
        "2 logins that opened a maildrop",
        "since popward-metrics began",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // A terminal: `script` makes one, and types `q`.
    let top = format!("{} top", host.at("libexec/popwardctl").display());
    let mut script = Command::new("timeout");
    script
        .args(["60", "script", "-qec", &top, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    let mut shown = vec![0; 16_384];
    let mut length = 0;
    while !String::from_utf8_lossy(&shown[..length]).contains("bob") {
        let read = script
            .stdout
            .as_mut()
            .unwrap()
            .read(&mut shown[length..])
            .unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&shown[..length]));
        length += read;
    }
    assert!(String::from_utf8_lossy(&shown[..length]).contains("sessions:  2"));
    script.stdin.take().unwrap().write_all(b"q").unwrap();
    assert!(script.wait().unwrap().success());

    // The session ends without deletions, and its locks are free.
    assert_ok(&alice.ask("DELE 1"));
    assert_eq!(
        ctl(&host, &["kick", &session]),
        (format!("ended: session {session} of alice\n"), 0)
    );
    until("the dotlock is gone", || !host.spool("alice.lock").exists());
    assert_eq!(host.bytes("alice"), spool(3));
    assert_ok(&bob.ask("NOOP"));
    assert_ok(&host.login("alice").ask("QUIT"));
    let (text, status) = ctl(&host, &["kick", "--user", "bob"]);
    assert!(status == 0 && text.ends_with(" of bob\n"), "{text}");
    metrics.wait_for("popward_sessions 0");

    // Without popward-metrics, the kernel alone tells.
    drop(metrics);
    let _alice = host.login("alice");
    let (text, status) = ctl(&host, &["sessions"]);
    assert!(
        status == 0 && text.contains("the clients are not known"),
        "{text}"
    );
    assert!(text.contains("fcntl+flock"), "{text}");
    let (text, _) = ctl(&host, &["status"]);
    assert!(text.contains("sessions:  1\ncounts:    none: "), "{text}");
    drop(host);
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    let said = |arguments: &[&str]| {
        let mut command = Command::new(built().join("popward-metrics"));
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&[]).contains("expected a socket for records: --records"));
    let directory = tempfile::tempdir().unwrap();
    let records = directory.path().join("records");
    let records = records.to_str().unwrap();
    assert!(said(&["--records", records]).contains("expected 1 to 8 places to listen at"));
    assert!(said(&["--records", "/nonexistent/a"]).contains("--records /nonexistent/a: No such"));
    assert!(said(&["--listen", "nowhere"]).contains("--listen nowhere: "));
    assert!(said(&["--other"]).contains("--other"));
}

/// A line of the table in docs/metrics.md, or of the page: name and kind.
fn names(text: &str, begins: &str, separator: &str) -> std::collections::BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(begins));
    let words = lines.map(|line| line.split(separator).take(2).collect::<Vec<_>>().join(" "));
    words.collect()
}

#[test]
fn the_page_of_documents_lists_each_metric() {
    let directory = tempfile::tempdir().unwrap();
    let (records, http) = (
        directory.path().join("records"),
        directory.path().join("http"),
    );
    let mut command = Command::new(built().join("popward-metrics"));
    let child = command
        .arg("--records")
        .arg(&records)
        .arg("--listen")
        .arg(&http)
        .spawn();
    let metrics = Metrics(child.unwrap(), 0);
    until("it listens", || UnixStream::connect(&http).is_ok());
    // The first record of a certificate makes its metric.
    let record = "POPWARD_PROCESS=front\nPOPWARD_TEXT=certificate\nPOPWARD_EXPIRES=1900000000\n";
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(record.as_bytes(), &records).unwrap();
    let mut page = String::new();
    until("the certificate is known", || {
        let mut client = UnixStream::connect(&http).unwrap();
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        page.clear();
        client.read_to_string(&mut page).unwrap();
        page.contains(" 1900000000")
    });
    drop(metrics);
    let document = include_str!("../docs/metrics.md");
    let table = document
        .split("\n\n")
        .find(|part| part.starts_with("| name | kind |"));
    let listed = names(&table.unwrap().replace("` | ", " | "), "| `", " | ");
    assert_eq!(listed, names(&page, "# TYPE popward_", " "));
}
