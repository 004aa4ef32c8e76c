//! Reads recorded sessions with real servers.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::pedantic,
    reason = "each test uses a part; a test may fail"
)]

use std::path::PathBuf;

/// Reads a file of `privsep/mbox/tests/vectors`.
pub fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../mbox/tests/vectors")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines that the server sent after `command`, with its status line first.
pub fn reply(session: &[u8], command: &str) -> Vec<Vec<u8>> {
    let mut lines = session.split(|byte| *byte == b'\n');
    let asked = format!("C: {command}");
    lines.find(|line| *line == asked.as_bytes());
    lines
        .map_while(|line| line.strip_prefix(b"S: "))
        .map(unescape)
        .collect()
}

fn unescape(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        out.push(match (byte, byte == &b'\\') {
            (_, true) => match bytes.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                other => *other.unwrap(),
            },
            (byte, false) => *byte,
        });
    }
    out
}

/// The text of a multi-line reply, without its status line and its final dot.
pub fn body(session: &[u8], command: &str) -> Vec<u8> {
    let mut lines = reply(session, command);
    assert_eq!(lines.pop().unwrap(), b".\r\n", "{command}");
    lines[1..].concat()
}
