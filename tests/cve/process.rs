//! What a process of the server has used, from `/proc`.

use super::host::Host;
use std::time::Duration;

/// A process of the server that is to live through what is done to it.
pub struct Process {
    pid: i32,
    kibibytes: u64,
    worked: Duration,
}

impl Process {
    /// The only one that runs this executable.
    pub fn only(host: &Host, executable: &str) -> Self {
        let pid = host.children(executable)[0];
        Self {
            pid,
            kibibytes: resident(pid),
            worked: worked(pid),
        }
    }

    /// Asserts that it is the same process, has grown by no more than so many KiB, and has worked no longer than this.
    #[track_caller]
    pub fn has_used_at_most(&self, kibibytes: u64, time: Duration, what: &str) {
        let grown = resident(self.pid).saturating_sub(self.kibibytes);
        assert!(grown <= kibibytes, "{what}: grown by {grown} KiB");
        let worked = worked(self.pid).saturating_sub(self.worked);
        assert!(worked <= time, "{what}: worked for {worked:?}");
    }
}

/// Memory that it has, in KiB. A process that has gone has none to read.
fn resident(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// For how long it has used a processor, itself and for its system calls.
fn worked(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    // Behind the name, which is in brackets and may have anything in it.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
