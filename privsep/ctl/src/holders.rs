//! Who holds a spool's locks, by name and process id, where a dotlock or the kernel tells.
//!
//! Nothing is decided by these names: a user can put any text into a dotlock of their own, and any
//! name on a process of their own.

use crate::facts::Dotlock;
use popward_proto::sessions_worker::SESSION_ARGUMENT;
use serde::Serialize;
use std::fs::File;
use std::io::Read;

/// How much of the kernel's list of locks is read, in bytes. A line has about 50.
const LIST_MAX: u64 = 16 << 20;
/// How much of a process's command line is read, in bytes.
const COMMAND_MAX: u64 = 4096;
/// The longest name that is shown, in characters.
const NAME_MAX: usize = 64;

/// A lock that somebody has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lock {
    /// Which kind.
    pub(crate) kind: &'static str,
    /// The process, if anything tells.
    pub(crate) pid: Option<i32>,
    /// Who that is, in words.
    pub(crate) holder: String,
    /// Whether the next login removes it: a dotlock of this user and host whose process has ended.
    pub(crate) stale: bool,
    /// Seconds since a dotlock was touched.
    pub(crate) touched_s_ago: Option<u64>,
}

/// The locks of a spool. `lock_id` is the spool in the kernel's list. `host` is this host's name in
/// dotlocks, and `uid` the user.
pub(crate) fn all(
    dotlock: Option<&Dotlock>,
    lock_id: Option<&str>,
    host: &str,
    uid: u32,
) -> Vec<Lock> {
    let mut locks: Vec<Lock> = dotlock
        .map(|lock| of_dotlock(lock, host, uid))
        .into_iter()
        .collect();
    if let (Some(id), Ok(file)) = (lock_id, File::open("/proc/locks")) {
        let mut list = String::new();
        // What has been read before an error is enough.
        let _ = file.take(LIST_MAX).read_to_string(&mut list);
        let held = list.lines().filter_map(|line| parse(line, id));
        locks.extend(held.map(|(kind, pid)| of_kernel(kind, pid)));
    }
    locks
}

/// popward and Dovecot write `pid:host`, liblockfile and others only `pid`.
fn of_dotlock(dotlock: &Dotlock, host: &str, uid: u32) -> Lock {
    let text = dotlock.text.trim();
    let (pid, of) = text.split_once(':').unwrap_or((text, ""));
    let pid = pid.parse::<i32>().ok().filter(|pid| *pid > 1);
    let (holder, ended) = match pid {
        None => ("a program that left no process id".to_owned(), false),
        Some(pid) if of.is_empty() || of == host => named(pid),
        Some(_) => (format!("a program on host {}", shown(of)), false),
    };
    Lock {
        kind: "dotlock",
        pid,
        holder,
        stale: ended && of == host && dotlock.uid == uid,
        touched_s_ago: Some(dotlock.touched_s_ago),
    }
}

fn of_kernel(kind: &'static str, pid: Option<i32>) -> Lock {
    let holder = match pid {
        Some(pid) => named(pid).0,
        // The kernel names no process for an open file description lock. popward's sessions and
        // current Dovecots have such locks.
        None => "a process that the kernel does not name".to_owned(),
    };
    Lock {
        kind,
        pid,
        holder,
        stale: false,
        touched_s_ago: None,
    }
}

/// Reads a line such as `1: FLOCK  ADVISORY  WRITE 708 fd:01:917 0 EOF` (proc(5)). Returns kind and
/// process of a lock on the file `id`. A line with `->` is about a process that waits.
fn parse(line: &str, id: &str) -> Option<(&'static str, Option<i32>)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, kind, _, _, pid, inode, ..] = fields[..] else {
        return None;
    };
    let kind = match kind {
        "POSIX" | "OFDLCK" => "fcntl",
        "FLOCK" => "flock",
        "LEASE" => "lease",
        _ => return None,
    };
    let pid = pid.parse().ok().filter(|pid| *pid > 1);
    (inode == id).then_some((kind, pid))
}

/// Who the process `pid` of this host is, and whether it has ended.
fn named(pid: i32) -> (String, bool) {
    let Ok(name) = std::fs::read_to_string(format!("/proc/{pid}/comm")) else {
        return ("a process that has ended".to_owned(), true);
    };
    let words = command_line(pid);
    let mut sessions = words.split('\0').filter_map(|word| {
        let session = word.strip_prefix(SESSION_ARGUMENT)?;
        words.starts_with("popward-").then_some(session)
    });
    match sessions.next() {
        Some(session) => (format!("session {} of popward", shown(session)), false),
        None => (shown(name.trim_end()), false),
    }
}

/// The beginning of a process's command line. It is empty if there is no such process.
fn command_line(pid: i32) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(COMMAND_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name as a terminal may show it.
pub(crate) fn shown(name: &str) -> String {
    let printable = |letter: char| {
        if letter.is_ascii_graphic() || letter == ' ' {
            letter
        } else {
            '?'
        }
    };
    name.chars().take(NAME_MAX).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_names_kind_and_process() {
        let id = "fd:01:917";
        let line = "1: FLOCK  ADVISORY  WRITE 708 fd:01:917 0 EOF";
        assert_eq!(parse(line, id), Some(("flock", Some(708))));
        let line = "2: OFDLCK ADVISORY  WRITE -1 fd:01:917 0 EOF";
        assert_eq!(parse(line, id), Some(("fcntl", None)));
        for line in [
            "2: -> POSIX ADVISORY  WRITE 709 fd:01:917 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 708 fd:01:918 0 EOF",
            "",
        ] {
            assert_eq!(parse(line, id), None, "{line}");
        }
    }

    #[test]
    fn a_dotlock_names_a_process_of_this_host_only() {
        let of = |text: &str| {
            let dotlock = Dotlock {
                text: text.to_owned(),
                uid: 1,
                touched_s_ago: 7,
            };
            let lock = of_dotlock(&dotlock, "here", 1);
            (lock.pid, lock.holder, lock.stale)
        };
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!of(&format!("{own}:here")).2);
        assert_eq!(of(&format!("{own}\n")), of(&format!("{own}:here")));
        // Without a host's name it may be a process of another host.
        assert!(!of("4194305").2);
        // No process has this id.
        assert!(of("4194305:here").2);
        assert_eq!(of("4194305:\u{1b}[1m").1, "a program on host ?[1m");
        assert_eq!(of("").0, None);
    }
}
