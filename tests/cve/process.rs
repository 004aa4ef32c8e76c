//! What a process of the server has used, from `/proc`.

use super::host::{Host, resident};
use std::time::Duration;

/// A process of the server that must survive the test.
pub struct Process {
    pid: i32,
    kibibytes: u64,
    worked: Duration,
}

impl Process {
    /// The only process that runs this executable.
    pub fn only(host: &Host, executable: &str) -> Self {
        let pid = host.children(executable)[0];
        Self {
            pid,
            kibibytes: resident(pid),
            worked: worked(pid),
        }
    }

    /// Asserts that the process still lives, has grown by at most so many KiB, and has used at most
    /// so much processor time.
    #[track_caller]
    pub fn has_used_at_most(&self, kibibytes: u64, time: Duration, what: &str) {
        let grown = resident(self.pid).saturating_sub(self.kibibytes);
        assert!(grown <= kibibytes, "{what}: grown by {grown} KiB");
        let worked = worked(self.pid).saturating_sub(self.worked);
        assert!(worked <= time, "{what}: worked for {worked:?}");
    }
}

/// The processor time of the process and of its system calls.
fn worked(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    // The fields behind the name. The name is in brackets and may hold anything.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
