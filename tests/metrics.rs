//! popward-metrics: what it counts while a server works, and that no server waits for it.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, assert_err, assert_ok, built, root, skipped, spool, until, user};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
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

#[test]
fn the_counts_are_what_happened_and_no_session_needs_them() {
    if !root() {
        return skipped("a /run of its own");
    }
    // The path of the records is fixed. So this thread and its children have another /run.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::create_dir("/run/popward-metrics").unwrap();

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
    let mut client = None;
    until("it listens", || {
        client = UnixStream::connect(&http).ok();
        client.is_some()
    });
    let mut client = client.unwrap();
    client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    client.read_to_string(&mut page).unwrap();
    drop(metrics);
    let document = include_str!("../docs/metrics.md");
    let table = document
        .split("\n\n")
        .find(|part| part.starts_with("| name | kind |"));
    let listed = names(&table.unwrap().replace("` | ", " | "), "| `", " | ");
    assert_eq!(listed, names(&page, "# TYPE popward_", " "));
}
