//! Who holds a lock that this process could not take. The log says it, so that an operator can act.
//!
//! This is read before the locks are taken. Nothing is decided by it: a user can put any
//! text into a dotlock of their own, and any name on a process of their own.

use super::file::open_to_read;
use nix::sys::stat::{fstat, major, minor};
use popward_proto::sessions_worker::{Job, SESSION_ARGUMENT, dotlock_name};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The longest dotlock that is read, in bytes: a process id and a host's name.
const TEXT_MAX: u64 = 128;

/// How much of the kernel's list of locks is read, in bytes. A line has about 50.
const LIST_MAX: u64 = 1 << 20;

/// How much of a process's command line is read, in bytes. Its user can make it megabytes long.
const COMMAND_MAX: u64 = 4096;

/// The longest name that is shown, in characters.
const NAME_MAX: usize = 64;

/// The holder of a lock.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// A session of popward or another program, as the log names it.
    Named(String),
    /// A process of this host that has ended.
    Gone(i32),
    /// Neither the lock nor the kernel says who it is.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => out.write_str(name),
            Self::Gone(pid) => write!(out, "process {pid}, which has ended"),
            Self::Unknown => out.write_str("a program that left no process id"),
        }
    }
}

impl Holder {
    /// The holder of the spool's locks: whom the dotlock names, or else whom the kernel names.
    pub fn of(job: &Job, directory: &OwnedFd) -> Self {
        let in_dotlock = job.locks.dotlock.then(|| by_dotlock(job, directory));
        match in_dotlock.flatten() {
            Some(named @ Self::Named(_)) => named,
            gone => by_kernel(job, directory).or(gone).unwrap_or(Self::Unknown),
        }
    }
}

/// Reads the dotlock. popward and Dovecot write `pid:host`, liblockfile and others only `pid`.
fn by_dotlock(job: &Job, directory: &OwnedFd) -> Option<Holder> {
    let mut text = String::new();
    let file = open(directory, &dotlock_name(&job.spool_name))?;
    file.take(TEXT_MAX).read_to_string(&mut text).ok()?;
    let (pid, host) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
    let pid = pid.parse().ok().filter(|pid| *pid > 1)?;
    if host.is_empty() || host == job.host.as_str() {
        return process(pid);
    }
    let host = shown(host);
    Some(Holder::Named(format!(
        "a program on host {host} (process {pid} there)"
    )))
}

/// Looks for the spool's inode in the kernel's list of locks. The list has no process for an open
/// file description lock.
fn by_kernel(job: &Job, directory: &OwnedFd) -> Option<Holder> {
    let spool = fstat(open(directory, job.spool_name.as_str())?).ok()?;
    let (major, minor) = (major(spool.st_dev), minor(spool.st_dev));
    let inode = format!("{major:02x}:{minor:02x}:{}", spool.st_ino);
    let mut list = String::new();
    let file = File::open("/proc/locks").ok()?;
    file.take(LIST_MAX).read_to_string(&mut list).ok()?;
    list.lines().find_map(|line| holder_in(line, &inode))
}

/// Reads a line such as `1: FLOCK  ADVISORY  WRITE 708 fd:01:917 0 EOF` (proc(5)). A line with `->`
/// is about a process that waits. It has no number where the process id is looked for.
fn holder_in(line: &str, inode: &str) -> Option<Holder> {
    let mut fields = line.split_ascii_whitespace();
    let pid = fields.nth(4)?.parse().ok().filter(|pid| *pid > 1)?;
    if fields.next() != Some(inode) {
        return None;
    }
    process(pid)
}

/// Who the process `pid` is. `None`: it lives, and this process may not see its name.
fn process(pid: i32) -> Option<Holder> {
    if super::stale::began(pid).is_none() {
        return Some(Holder::Gone(pid));
    }
    let words = command_line(pid);
    let mut sessions = words.split('\0').filter_map(|word| {
        let session = word.strip_prefix(SESSION_ARGUMENT)?;
        words.starts_with("popward-").then_some(session)
    });
    let comm = format!("/proc/{pid}/comm");
    let name = match sessions.next() {
        Some(session) => format!("session {} of popward", shown(session)),
        None => shown(std::fs::read_to_string(comm).ok()?.trim_end()),
    };
    Some(Holder::Named(format!("{name} (process {pid})")))
}

/// The beginning of a process's command line. It is empty if there is no such process.
fn command_line(pid: i32) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        // What has been read before an error is enough.
        let _ = file.take(COMMAND_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn open(directory: &OwnedFd, name: &str) -> Option<File> {
    let file = open_to_read(directory, name).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

/// A name as the log may show it.
fn shown(name: &str) -> String {
    let name: String = name.chars().take(NAME_MAX).collect();
    name.replace(|letter: char| !letter.is_ascii_graphic(), "?")
}

#[cfg(test)]
mod tests;
