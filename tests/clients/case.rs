//! A host with one user, whose spool has messages of every kind, and a home for the client that
//! fetches them.

use super::host::{Host, message, root, skipped, user};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Messages of every kind: long lines, 8-bit, dots, quoted From_ lines, empty lines at the end.
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

/// Mechanisms for which the server needs the password in plain, or a secret made of it. No client
/// sends the password itself.
pub const SECRETS: &str = r#"["apop", "cram-md5", "scram-sha-1", "scram-sha-256"]"#;

/// Clients run as a user of the system, because some of them look their user up.
const NOBODY: u32 = 65534;

pub struct Case {
    pub host: Host,
    /// Where the client runs, and writes.
    pub home: PathBuf,
    /// The messages as they must arrive, in order.
    pub expected: Vec<String>,
    /// How many logins the test has found in the log so far.
    logins: Cell<usize>,
}

/// How a client must have logged in: the method that the log names, and whether over TLS.
pub type Used = (&'static str, bool);

impl Case {
    /// A case with the mechanisms that are offered by default.
    pub fn new() -> Self {
        Self::offering(r#"["user", "plain", "login"]"#)
    }

    /// A case with these mechanisms offered.
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
        let host = Host::with(&users, "", &[("[auth]\n", &offered)]);
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

    /// Where a client connects: `localhost:PORT`, for TLS from the start or not.
    pub fn at(&self, tls: bool) -> String {
        let port = if tls { self.host.tls } else { self.host.plain };
        format!("localhost:{port}")
    }

    /// Asserts that the log has one more login, by this method.
    pub fn used(&self, (method, tls): Used, what: &str) {
        self.logins.set(self.logins.get() + 1);
        let line = self.host.logged_times(" login session=", self.logins.get());
        assert!(
            line.contains(&format!("method={method} ")),
            "{what}: {line}"
        );
        assert_eq!(line.contains("tls=TLS"), tls, "{what}: {line}");
    }

    /// Runs a client and asserts that it succeeds. Returns its standard output with LF line ends;
    /// `None` if it is not installed.
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

    /// The program with a limit of one minute, so that a program that asks a question does not
    /// hang.
    pub fn limited(&self, program: &str) -> Option<Command> {
        self.client(program)?;
        let mut command = self.client("timeout")?;
        command.args(["60", program]);
        Some(command)
    }

    /// Makes a directory that the client can write to.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir(&path).unwrap();
        if root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    /// Compares an mbox file that a client wrote with the spool. The client's `own` headers do not
    /// count.
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
            // Programs differ in how many empty lines they put between messages.
            assert_eq!(
                message.trim_end_matches('\n'),
                expected.trim_end_matches('\n'),
                "{what}"
            );
        }
    }

    /// All messages, with a NUL behind each.
    pub fn all(&self) -> String {
        self.expected
            .iter()
            .map(|message| format!("{message}\0"))
            .collect()
    }

    /// The program, as an ordinary user with this home. Prints that it is skipped, and returns
    /// `None`, if it is not installed.
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

    /// Compares the files of a directory with the spool, in the order of the messages' numbers.
    pub fn stored(&self, directory: &str, what: &str) {
        let mut found: Vec<String> = fs::read_dir(self.home.join(directory))
            .unwrap()
            .map(|entry| text(&fs::read(entry.unwrap().path()).unwrap()))
            .collect();
        found.sort_by_key(|text| number(text));
        assert_eq!(found.len(), self.expected.len(), "{what}");
        for (found, expected) in found.iter().zip(&self.expected) {
            // getmail puts this header first. No option keeps it away.
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
