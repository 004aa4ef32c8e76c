//! The page of an executable: what its processes do, and what they may do. `reasons.txt` says how
//! to read one.

use super::trace::Surface;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What was seen: by section, what is permitted if there is a table, and what was done.
#[derive(Debug, Default)]
pub struct Found(pub BTreeMap<String, (Option<BTreeSet<String>>, BTreeSet<String>)>);

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// In each run of the test.
    Used,
    /// In some runs, or on some machines.
    Sometimes,
    /// In no run.
    NotUsed,
}

/// The mark of a row, and its reason. Empty for what is used.
type Row = (Mark, String);

/// A page: rows by section.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page(BTreeMap<String, BTreeMap<String, Row>>);

impl Found {
    /// Adds what the processes of one server did. `names` are texts of paths that differ from run to
    /// run.
    pub fn add(&mut self, executable: &str, surface: &Surface, names: &[(String, &str)]) {
        for (phase, calls) in surface.calls.iter().enumerate() {
            let section = match phase {
                0 => "calls before its filter".to_owned(),
                phase => format!("calls behind filter {phase}"),
            };
            let section = match surface.tables.get(&phase) {
                None => section,
                Some(_) => format!("{section}, a table"),
            };
            let table = surface.tables.get(&phase);
            if table.is_none() && phase > 0 && WITH_MODULES.contains(&executable) {
                continue;
            }
            let counts =
                |call: &&String| table.is_some() || !OF_EVERY_PROGRAM.contains(&call.as_str());
            let (permitted, seen) = self.0.entry(section).or_default();
            seen.extend(calls.iter().filter(counts).cloned());
            if let Some(table) = table {
                permitted
                    .get_or_insert_default()
                    .extend(table.iter().cloned());
            }
        }
        let files = surface.files.iter().filter_map(|file| kind(file, names));
        self.0
            .entry("files".to_owned())
            .or_default()
            .1
            .extend(files);
        let entry = self.0.entry("capabilities".to_owned()).or_default();
        let held = surface.held.iter().map(|name| format!("has {name}"));
        let used = surface.used.iter().map(|how| format!("uses {how}"));
        entry.1.extend(held.chain(used));
    }
}

/// The page of what every table permits, whichever process does it.
pub const SHARED: &str = "every-table";

/// Moves what every table permits to a page of its own.
pub fn share(found: &mut BTreeMap<String, Found>) {
    let sections = || found.values().flat_map(|found| found.0.values());
    let mut tables = sections().filter_map(|(permitted, _)| permitted.as_ref());
    let first = tables.next().unwrap().clone();
    let shared = tables.fold(first, |shared, table| &shared & table);
    let seen = sections().flat_map(|(_, seen)| seen & &shared).collect();
    for (permitted, seen) in found.values_mut().flat_map(|found| found.0.values_mut()) {
        if let Some(permitted) = permitted {
            *permitted = &*permitted - &shared;
            *seen = &*seen - &shared;
        }
    }
    let table = ("calls".to_owned(), (Some(shared), seen));
    found.insert(SHARED.to_owned(), Found(BTreeMap::from([table])));
}

impl Page {
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut section = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
                continue;
            }
            let mut words = line
                .split("  ")
                .map(str::trim)
                .filter(|word| !word.is_empty());
            let mut next = || words.next().unwrap_or_default().to_owned();
            let name = next();
            let mark = match next().as_str() {
                "used" => Mark::Used,
                "sometimes" => Mark::Sometimes,
                "not used" => Mark::NotUsed,
                other => panic!("{line}: {other:?}"),
            };
            let rows = page.0.entry(section.clone()).or_default();
            rows.insert(name, (mark, next()));
        }
        page
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (section, rows) in self.0.iter().filter(|(_, rows)| !rows.is_empty()) {
            let _ = writeln!(text, "[{section}]");
            for (name, (mark, reason)) in rows {
                let mark = match mark {
                    Mark::Used => "used",
                    Mark::Sometimes => "sometimes",
                    Mark::NotUsed => "not used",
                };
                let line = format!("{name:44}  {mark:9}  {reason}");
                let _ = writeln!(text, "{}", line.trim_end());
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    }

    /// The rows that need a reason, each with its reason.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &str)> {
        let rows = self.0.values().flatten();
        let rows = rows.filter(|(_, (mark, _))| *mark != Mark::Used);
        rows.map(|(name, (_, reason))| (&**name, &**reason))
    }

    /// How this page differs from what was found. Then it no longer does.
    pub fn judge(&mut self, found: &Found) -> Vec<String> {
        let mut wrong = Vec::new();
        let none = (None, BTreeSet::new());
        let sections: BTreeSet<_> = self.0.keys().chain(found.0.keys()).cloned().collect();
        for section in sections {
            let (permitted, seen) = found.0.get(&section).unwrap_or(&none);
            let mut say = |row: &str, what: &str| wrong.push(format!("[{section}] {row}: {what}"));
            let rows = self.0.entry(section.clone()).or_default();
            let unknown = || (Mark::NotUsed, "?".to_owned());
            for row in permitted.iter().flatten() {
                if !rows.contains_key(row) {
                    rows.insert(row.clone(), unknown());
                    say(row, "permitted, and not on the page");
                }
            }
            for row in seen {
                if permitted.as_ref().is_some_and(|rows| !rows.contains(row)) {
                    say(row, "no row of the table permits this");
                    continue;
                }
                let listed = rows.get(row).map(|(mark, _)| *mark);
                if ![Some(Mark::Used), Some(Mark::Sometimes)].contains(&listed) {
                    say(row, "done, and not on the page as used");
                    rows.insert(row.clone(), (Mark::Used, String::new()));
                }
            }
            let mut gone = Vec::new();
            for (row, (mark, reason)) in rows.iter_mut() {
                let may = permitted.as_ref().is_none_or(|rows| rows.contains(row));
                if *mark == Mark::Used && !seen.contains(row) {
                    say(row, "not done, and on the page as used");
                    (*mark, *reason) = unknown();
                    if permitted.is_none() {
                        gone.push(row.clone());
                    }
                } else if !may {
                    say(row, "not permitted, and on the page");
                    gone.push(row.clone());
                }
            }
            for row in gone {
                rows.remove(&row);
            }
        }
        wrong
    }
}

/// What was done to a file, without what differs between runs and machines.
fn kind(file: &str, names: &[(String, &str)]) -> Option<String> {
    let mut text = file.to_owned();
    for (path, name) in names {
        text = text.replace(path, name);
    }
    let words = text.split(' ').map(|word| {
        // What was done stands before the path.
        let is_path = word.contains('/') || word.starts_with(char::is_uppercase);
        if is_path {
            place(word)
        } else {
            word.to_owned()
        }
    });
    let kinds: Vec<_> = words.collect();
    // A pipe has no path.
    (!text.contains("pipe:[")).then(|| kinds.join(" "))
}

/// A path, without numbers and names of users. Everything of the system is one thing, because other
/// people's libraries read it.
fn place(path: &str) -> String {
    let own = ["HOST", "FILES", "/proc", "/dev/", "/tmp", "/var/tmp"];
    if path != "/" && !own.iter().any(|own| path.starts_with(own)) {
        return "SYSTEM".to_owned();
    }
    // Of the kernel's settings, libraries read many.
    if ["/proc/sys", "/proc/filesystems"]
        .iter()
        .any(|own| path.starts_with(own))
    {
        return "SYSTEM".to_owned();
    }
    let parts: Vec<_> = path.split('/').map(part).collect();
    parts.join("/")
}

fn part(part: &str) -> String {
    let users = ["alice", "bob", "carol", "dave", "games"];
    let words = part.split('.').map(|word| {
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            "PID"
        } else if users.contains(&word) {
            "USER"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(".")
}

/// The calls that every program makes: to load libraries, for memory, for threads, for files that
/// are open. Which of them a program makes depends on the versions of the libraries. Only a table
/// has them.
const OF_EVERY_PROGRAM: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "close_range",
    "exit",
    "exit_group",
    "faccessat2",
    "fcntl",
    "fstat",
    "futex",
    "getpid",
    "getrandom",
    "gettid",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "poll",
    "ppoll",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "statx",
    "write",
    "writev",
];

/// The executables that run other people's code behind their first filter: modules of NSS and PAM.
const WITH_MODULES: &[&str] = &["popward-auth", "popward-auth-pam", "popward-auth-program"];
