//! A host with one user's spool of messages of every kind, and a home for the client that fetches them.

use super::host::{Host, message, root, skipped, user};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What messages may be: long lines, 8-bit, dots, quoted From_ lines, empty lines at the end, no body.
fn bodies() -> Vec<String> {
    vec![
        "plain".to_owned(),
        format!("{}\n{}", "long ".repeat(190), ".".repeat(70)),
        "Grüße aus Köln\n\u{1f4ec}".to_owned(),
        ".\n..\n.dot\n\n.".to_owned(),
        ">From quoted\n>>From twice\nFrom the middle of a line: From me".to_owned(),
        "ends with empty lines\n\n\n".to_owned(),
        (0..4000).map(|n| format!("line {n}\n")).collect(),
        "tab\tand \u{7f} and = and trailing space ".to_owned(),
    ]
}

/// Mechanisms for which the server needs the password in plain, or what it is made of, and no client sends it.
pub const SECRETS: &str = r#"["apop", "cram-md5", "scram-sha-1", "scram-sha-256"]"#;

/// Clients run as somebody whom the system knows: some look their user up.
const NOBODY: u32 = 65534;

pub struct Case {
    pub host: Host,
    /// Where the client runs, and writes.
    pub home: PathBuf,
    /// The messages as they must arrive, in order.
    pub expected: Vec<String>,
    /// How many logins the log has had.
    logins: Cell<usize>,
}

/// What a row of a client's table must have used: the method that the log names, and TLS or none.
pub type Used = (&'static str, bool);

impl Case {
    /// What is offered without a word in the configuration.
    pub fn new() -> Self {
        Self::offering(r#"["user", "plain", "login"]"#)
    }

    /// With these mechanisms offered.
    pub fn offering(mechanisms: &str) -> Self {
        let spool: Vec<String> = (1..)
            .zip(bodies())
            .map(|(n, body)| message(n, &body))
            .collect();
        let expected = spool
            .iter()
            .map(|message| {
                let start = message.find('\n').unwrap() + 1;
                message[start..message.len() - 1].to_owned()
            })
            .collect();
        let users = [user("alice", 64401, spool.concat().as_bytes())];
        let offered = format!("[auth]\nmechanisms = {mechanisms}\n");
        let host = Host::with(&users, "[pop3]\nlast = true\n", &[("[auth]\n", &offered)]);
        let home = host.at("home");
        fs::create_dir(&home).unwrap();
        if root() {
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self {
            host,
            home,
            expected,
            logins: Cell::new(0),
        }
    }

    /// Where a client connects: `localhost:PORT`, for TLS from the beginning or not.
    pub fn at(&self, tls: bool) -> String {
        let port = if tls { self.host.tls } else { self.host.plain };
        format!("localhost:{port}")
    }

    /// Asserts that there was one more login, and how.
    pub fn used(&self, (method, tls): Used, what: &str) {
        self.logins.set(self.logins.get() + 1);
        let line = self.host.logged_times(" login session=", self.logins.get());
        assert!(
            line.contains(&format!("method={method} ")),
            "{what}: {line}"
        );
        assert_eq!(line.contains("tls=TLS"), tls, "{what}: {line}");
    }

    /// Runs a client that ends by itself, and well; `None` where it is not installed. What it writes to its standard output
    /// comes back, lines ended LF.
    pub fn runs(&self, program: &str, arguments: &[&str], what: &str) -> Option<String> {
        let output = self
            .limited(program)?
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        succeeded(&output, what);
        Some(text(&output.stdout))
    }

    /// The program within a minute, so that one that asks a question does not wait for its answer.
    pub fn limited(&self, program: &str) -> Option<Command> {
        self.client(program)?;
        let mut command = self.client("timeout")?;
        command.args(["60", program]);
        Some(command)
    }

    /// A directory that the client can write to.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir(&path).unwrap();
        if root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    /// Compares an mbox file that a client wrote, its own headers left out.
    pub fn mbox(&self, name: &str, own: &[&str], what: &str) {
        let bytes = fs::read(self.home.join(name)).unwrap();
        let stored = text(&bytes);
        let mut messages: Vec<String> = Vec::new();
        for line in stored.split_inclusive('\n') {
            if line.starts_with("From sender") {
                messages.push(String::new());
            } else if !own.iter().any(|header| line.starts_with(header)) {
                messages
                    .last_mut()
                    .expect("begins with a From_ line")
                    .push_str(line);
            }
        }
        assert_eq!(messages.len(), self.expected.len(), "{what}: {stored}");
        for (message, expected) in messages.iter().zip(&self.expected) {
            // How many empty lines separate messages is each program's own affair.
            assert_eq!(
                message.trim_end_matches('\n'),
                expected.trim_end_matches('\n'),
                "{what}"
            );
        }
    }

    /// The messages one behind the other, a NUL behind each.
    pub fn all(&self) -> String {
        self.expected
            .iter()
            .map(|message| format!("{message}\0"))
            .collect()
    }

    /// The program as an ordinary user at home there; `None`, said aloud, where it is not installed.
    pub fn client(&self, program: &str) -> Option<Command> {
        let path = std::env::var_os("PATH")?;
        if !std::env::split_paths(&path).any(|dir| dir.join(program).exists()) {
            skipped(&format!("{program} is not installed"));
            return None;
        }
        let mut command = Command::new(program);
        command.env("HOME", &self.home).current_dir(&self.home);
        if root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Some(command)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        if root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    pub fn authority(&self) -> String {
        self.host.at("cert.pem").display().to_string()
    }

    /// Compares the files of a directory, in the order of their messages' numbers, with what is expected.
    pub fn stored(&self, directory: &str, what: &str) {
        let mut found: Vec<String> = fs::read_dir(self.home.join(directory))
            .unwrap()
            .map(|entry| text(&fs::read(entry.unwrap().path()).unwrap()))
            .collect();
        found.sort_by_key(|text| number(text));
        assert_eq!(found.len(), self.expected.len(), "{what}");
        for (found, expected) in found.iter().zip(&self.expected) {
            // getmail's own, which it puts first and cannot be kept from.
            let found = found
                .strip_prefix("Return-Path: <unknown>\n")
                .unwrap_or(found);
            assert_eq!(found, expected, "{what}");
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .replace("\r\n", "\n")
}

/// The number in a message's Subject.
pub fn number(text: &str) -> u32 {
    let start = text.find("Subject: message ").unwrap() + "Subject: message ".len();
    text[start..].lines().next().unwrap().parse().unwrap()
}

pub fn succeeded(output: &Output, what: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}\n{error}",
        output.status
    );
}
