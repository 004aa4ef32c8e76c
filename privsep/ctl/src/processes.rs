//! The processes of the running server, as the kernel tells of them (proc(5)).
//!
//! A server is a process of root's that runs `popward` and has a monitor. What descends from it
//! belongs to it, if the executable lies beside this one. Users can run these executables, too, and
//! give such a process any argument. Only root can see which executable a process of another user
//! runs.

use crate::executable;
use popward_proto::sessions_worker::SESSION_ARGUMENT;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The executable of a session.
pub(crate) const WORKER: &str = "popward-worker";
/// The executable of the supervisor.
pub(crate) const SUPERVISOR: &str = "popward";
const MONITOR: &str = "popward-monitor";

/// What a link to an executable ends with if a newer version has replaced the file.
const DELETED: &[u8] = b" (deleted)";

/// The length of a page of memory in KiB, on the architectures that popward supports.
const PAGE_KIB: u64 = 4;

/// A process of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Process {
    /// Its process id.
    pub(crate) pid: i32,
    /// The process that started it.
    pub(crate) parent: i32,
    /// The name of its executable.
    pub(crate) name: String,
    /// Its real user id.
    pub(crate) uid: u32,
    /// When it began, in seconds since 1970.
    pub(crate) since: u64,
    /// The processor time that it has used.
    pub(crate) processor_ms: u64,
    /// Its memory, with what it shares.
    pub(crate) resident_kib: u64,
    /// Of a worker: the id of its session.
    pub(crate) session: Option<String>,
    /// Its executable's file has been replaced since it began.
    pub(crate) replaced: bool,
}

/// All processes of root's servers, by their ids.
///
/// # Errors
///
/// This process is not root's, or `/proc` cannot be read.
pub(crate) fn all() -> Result<Vec<Process>, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can see the server's processes".to_owned());
    }
    let failed = |error: std::io::Error| format!("/proc: {error}");
    let directory = executable::beside("").map_err(failed)?;
    let clock = Clock::read().map_err(failed)?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(failed)?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        found.extend(pid.and_then(|pid| of(pid, &directory, &clock)));
    }
    Ok(of_servers(found))
}

/// The processes that are a server or descend from one, by their ids.
fn of_servers(mut found: Vec<Process>) -> Vec<Process> {
    let monitored: BTreeSet<i32> = found
        .iter()
        .filter(|process| process.name == MONITOR && process.uid == 0)
        .map(|monitor| monitor.parent)
        .collect();
    let is_server = |process: &Process| {
        process.name == SUPERVISOR && process.uid == 0 && monitored.contains(&process.pid)
    };
    let mut theirs: BTreeSet<i32> = found
        .iter()
        .filter(|one| is_server(one))
        .map(|one| one.pid)
        .collect();
    // Each round adds the children of the round before.
    loop {
        let before = theirs.len();
        let children: Vec<i32> = found
            .iter()
            .filter(|process| theirs.contains(&process.parent))
            .map(|process| process.pid)
            .collect();
        theirs.extend(children);
        if theirs.len() == before {
            break;
        }
    }
    found.retain(|process| theirs.contains(&process.pid));
    found.sort_by_key(|process| process.pid);
    found
}

/// The process `pid`. `None`: it has ended, or is none of the server's.
fn of(pid: i32, directory: &Path, clock: &Clock) -> Option<Process> {
    let at = PathBuf::from(format!("/proc/{pid}"));
    let executable = fs::read_link(at.join("exe")).ok()?;
    let name = name_beside(&executable, directory)?;
    let status = fs::read_to_string(at.join("status")).ok()?;
    let stat = fs::read_to_string(at.join("stat")).ok()?;
    let words = fs::read(at.join("cmdline")).ok()?;
    let times = Stat::parse(&stat)?;
    Some(Process {
        pid,
        parent: times.parent,
        name,
        uid: real_uid(&status)?,
        since: clock.boot_s + times.begun / clock.ticks,
        processor_ms: times.used * 1000 / clock.ticks,
        resident_kib: times.pages * PAGE_KIB,
        session: session(&String::from_utf8_lossy(&words)),
        replaced: executable.as_os_str().as_bytes().ends_with(DELETED),
    })
}

/// The name of an executable in `directory` that is popward's.
fn name_beside(executable: &Path, directory: &Path) -> Option<String> {
    let path = executable.as_os_str().as_bytes();
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let name = path.strip_prefix(directory).ok()?.to_str()?;
    (name.starts_with("popward") && !name.contains('/')).then(|| name.to_owned())
}

fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn session(command_line: &str) -> Option<String> {
    let mut words = command_line.split('\0');
    words.find_map(|word| Some(word.strip_prefix(SESSION_ARGUMENT)?.to_owned()))
}

/// How the kernel counts time.
struct Clock {
    /// When the host was started, in seconds since 1970.
    boot_s: u64,
    /// Ticks in a second.
    ticks: u64,
}

impl Clock {
    fn read() -> std::io::Result<Self> {
        use nix::unistd::{SysconfVar, sysconf};
        let stat = fs::read_to_string("/proc/stat")?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let ticks = sysconf(SysconfVar::CLK_TCK)?;
        let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok());
        Ok(Self {
            boot_s: boot.and_then(|boot| boot.parse().ok()).unwrap_or(0),
            ticks: ticks.filter(|ticks| *ticks > 0).unwrap_or(100),
        })
    }
}

/// What `/proc/PID/stat` has: the parent, ticks, and pages.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    used: u64,
    begun: u64,
    pages: u64,
}

impl Stat {
    /// The name of the process stands in parentheses, and can have spaces and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first one here is the third field of proc(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: field(4)?.try_into().ok()?,
            used: field(14)? + field(15)?,
            begun: field(22)?,
            pages: field(24)?,
        })
    }
}

/// A file that a process has open, and its locks there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OpenFile {
    /// Its path, as the kernel knows it.
    pub(crate) path: OsString,
    /// The kinds of locks: `fcntl`, `flock`.
    pub(crate) locks: Vec<&'static str>,
}

/// The files that a process has open.
pub(crate) fn files(pid: i32) -> Vec<OpenFile> {
    let at = PathBuf::from(format!("/proc/{pid}"));
    let Ok(entries) = fs::read_dir(at.join("fd")) else {
        return Vec::new();
    };
    let of = |entry: fs::DirEntry| {
        let path = fs::read_link(entry.path()).ok()?;
        let about = fs::read_to_string(at.join("fdinfo").join(entry.file_name())).ok()?;
        let locks = about.lines().filter_map(|line| line.strip_prefix("lock:"));
        Some(OpenFile {
            path: path.into_os_string(),
            locks: locks.filter_map(kind).collect(),
        })
    };
    entries.flatten().filter_map(of).collect()
}

/// The kind of a lock in a line such as `1: OFDLCK ADVISORY  WRITE -1 fd:01:917 0 EOF`.
fn kind(line: &str) -> Option<&'static str> {
    match line.split_ascii_whitespace().nth(1)? {
        "POSIX" | "OFDLCK" => Some("fcntl"),
        "FLOCK" => Some("flock"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194560 1 0 0 0 11 12 0 0 20 0 1 0 4711 99999 88 0";
        let expected = Stat {
            parent: 1,
            used: 23,
            begun: 4711,
            pages: 88,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_is_the_servers_if_its_executable_lies_here() {
        let here = Path::new("/usr/libexec/popward/");
        let name = |path: &str| name_beside(Path::new(path), here);
        let worker = Some("popward-worker".to_owned());
        assert_eq!(name("/usr/libexec/popward/popward-worker"), worker);
        assert_eq!(
            name("/usr/libexec/popward/popward-worker (deleted)"),
            worker
        );
        for other in [
            "/usr/bin/popward-worker",
            "/usr/libexec/popward/other",
            "/usr/libexec/popward/popward/x",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_descends_from_a_server_of_roots_is_shown() {
        let process = |pid, parent, name: &str, uid| Process {
            pid,
            parent,
            name: name.to_owned(),
            uid,
            since: 0,
            processor_ms: 0,
            resident_kib: 0,
            session: None,
            replaced: false,
        };
        let shown = of_servers(vec![
            process(9, 8, WORKER, 7),
            process(8, 5, "popward-sessions", 0),
            process(6, 5, MONITOR, 0),
            process(5, 1, SUPERVISOR, 0),
            // A command of root's, and what a user has started by hand.
            process(11, 1, SUPERVISOR, 0),
            process(12, 1, "popward-metrics", 6),
            process(21, 1, SUPERVISOR, 7),
            process(22, 21, MONITOR, 7),
            process(23, 22, WORKER, 7),
            process(24, 1, WORKER, 7),
        ]);
        let pids: Vec<i32> = shown.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [5, 6, 8, 9]);
    }

    #[test]
    fn this_process_is_read() {
        let own = std::process::id().try_into().unwrap();
        let executable = std::env::current_exe().unwrap();
        let clock = Clock::read().unwrap();
        let directory = executable.parent().unwrap();
        // Its name is not popward's in every build.
        if let Some(process) = of(own, directory, &clock) {
            assert!(process.resident_kib > 0 && process.since > clock.boot_s);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(real_uid(&status), Some(nix::unistd::getuid().as_raw()));
        let file = fs::File::open(&executable).unwrap();
        assert!(
            files(own)
                .iter()
                .any(|file| file.path == executable.as_os_str())
        );
        drop(file);
    }
}
