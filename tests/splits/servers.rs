//! Other servers, each of which says which messages a file has.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user who reads, where root starts the servers: nobody.
const NOBODY: u32 = 65534;

/// Most messages that are asked for.
pub const MESSAGES_MAX: usize = 30;

/// Messages as they were sent. `None`: the file was refused.
pub type Messages = Option<Vec<Vec<u8>>>;

/// A directory in which servers read files.
pub struct Servers {
    directory: tempfile::TempDir,
}

impl Servers {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().display();
        let places = if crate::host::dovecot_has_new_settings() {
            format!(
                "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\nmail_driver = mbox\nmail_path = {base}\n\
                 mail_inbox_path = {base}/%{{user}}\nmail_index_path = MEMORY\n\
                 import_environment {{\n  USER = spool\n  HOME = {base}\n}}\n"
            )
        } else {
            format!("mail_location = mbox:{base}:INBOX={base}/%u:INDEX=MEMORY\n")
        };
        let mut config = format!(
            "{places}base_dir = {base}\nstate_dir = {base}\n\
             log_path = {base}/log\nfirst_valid_uid = 1\nstats_writer_socket_path =\nmbox_read_locks = fcntl\n\
             mbox_write_locks = fcntl\nssl = no\n"
        );
        if root() {
            config += &format!("mail_uid = {NOBODY}\nmail_gid = {NOBODY}\n");
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::write(directory.path().join("dovecot.conf"), config).unwrap();
        Self { directory }
    }

    fn command(&self, program: &str, spool: &[u8]) -> Command {
        let file = self.directory.path().join("spool");
        std::fs::write(&file, spool).unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("USER", "spool")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if root() {
            chown(&file, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// The messages that Dovecot's POP3 sends.
    pub fn dovecot(&self, spool: &[u8]) -> Messages {
        answers(&self.dovecot_says(spool, &questions()))
    }

    /// What Dovecot's POP3 says in a session, first to NOOP.
    pub fn dovecot_says(&self, spool: &[u8], questions: &[u8]) -> Vec<u8> {
        let mut command = self.command(DOVECOT, spool);
        command
            .arg("-c")
            .arg(self.directory.path().join("dovecot.conf"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Who refuses the file does not read it.
        let questions = [b"NOOP\r\n", questions].concat();
        let _ = child.stdin.take().unwrap().write_all(&questions);
        child.wait_with_output().unwrap().stdout
    }

    /// The spool as the last session has left it.
    pub fn spool(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("spool")).unwrap()
    }

    /// What c-client reads: mailutil copies the messages to a file of another format.
    pub fn c_client(&self, spool: &[u8]) -> Messages {
        let copy = self.directory.path().join("copy");
        let _ = std::fs::remove_file(&copy);
        let output = self
            .command(C_CLIENT, spool)
            .args(["-verbose", "copy", "spool", "#driver.mbx/copy"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let (_, count) = said.split_once(" [")?;
        let count: usize = count.split(' ').next()?.parse().ok()?;
        if count == 0 {
            return Some(Vec::new());
        }
        let messages = mbx(&std::fs::read(&copy).unwrap());
        // It shows a file that is no mbox as one message of its own making.
        let path = self.directory.path().join("spool");
        let made = format!("\nSubject: {}\r\n", path.display());
        let made = String::from_utf8_lossy(&messages[0]).contains(&made);
        (!made).then_some(messages)
    }
}

const DOVECOT: &str = "/usr/lib/dovecot/pop3";
const C_CLIENT: &str = "/usr/bin/mailutil";

/// The servers that are installed, by their names in `differences.txt`.
pub fn installed() -> Vec<&'static str> {
    let all = [("dovecot", DOVECOT), ("c-client", C_CLIENT)];
    let there = all.into_iter().filter(|(name, path)| {
        let there = PathBuf::from(path).exists();
        if !there {
            crate::host::skipped(&format!("{name}: no {path}"));
        }
        there
    });
    there.map(|(name, _)| name).collect()
}

fn root() -> bool {
    crate::host::root()
}

/// What is sent to a POP3 server that knows its user.
pub fn questions() -> Vec<u8> {
    let mut text = String::new();
    for number in 1..=MESSAGES_MAX {
        text += &format!("RETR {number}\r\n");
    }
    (text + "QUIT\r\n").into_bytes()
}

/// The messages in what a server answered, behind another reply that shows whether it has read the
/// file.
pub fn answers(said: &[u8]) -> Messages {
    let mut lines = said.split_inclusive(|byte| *byte == b'\n');
    lines
        .next()
        .filter(|greeting| greeting.starts_with(b"+OK"))?;
    let mut messages = Vec::new();
    while lines.next().is_some_and(|line| line.starts_with(b"+OK")) {
        let mut message = Vec::new();
        let body = lines.by_ref().take_while(|line| *line != b".\r\n");
        body.for_each(|line| message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line)));
        messages.push(message);
        assert!(messages.len() < MESSAGES_MAX);
    }
    Some(messages)
}

/// The messages of a file in c-client's format mbx: a head of 2,048 bytes; before each message a
/// line with its date, its length and its flags.
fn mbx(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = file.get(2048..).unwrap_or_default();
    let mut messages = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let length = line.split([',', ';']).nth(1).unwrap();
        let (message, after) = rest[end + 1..].split_at(length.parse().unwrap());
        messages.push(message.to_vec());
        rest = after;
    }
    messages
}

/// The file of the listed differences.
pub fn listed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/splits/differences.txt");
    std::fs::read_to_string(path).unwrap()
}
