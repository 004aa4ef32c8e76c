//! How lines wait for popward-log.

use super::*;
use popward_sys::channel::{PacketBuffer, socket_pair};

/// A log, and the other end of its channel.
fn log() -> (LogWriter, Channel<NoMessage, Line>) {
    let (own, other) = socket_pair().unwrap();
    let mut log = LogWriter::new(Role::Monitor, Level::Info);
    log.connect(own);
    let other = Channel::new(other, SetupPhase::Serving);
    other.set_nonblocking().unwrap();
    (log, other)
}

fn lines(from: &mut Channel<NoMessage, Line>) -> Vec<Line> {
    let mut buffer = PacketBuffer::for_messages();
    let mut lines = Vec::new();
    while let Ok((line, _)) = from.receive(&mut buffer) {
        lines.push(line);
    }
    lines
}

#[test]
fn lines_wait_while_there_is_no_log_process() {
    let (mut log, other) = log();
    drop(other);
    for text in ["one", "two"] {
        log.write(Level::Error, text, &[]);
    }
    log.write(Level::Debug, "below the level", &[]);
    let (own, other) = socket_pair().unwrap();
    log.connect(own);
    let mut other = Channel::new(other, SetupPhase::Serving);
    other.set_nonblocking().unwrap();
    let lines = lines(&mut other);
    let texts: Vec<_> = lines.iter().map(|line| line.record.text.as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
}
