//! `popwardctl status`: the running server in a few lines.

use crate::output::{FAILED, complain, print};
use crate::processes::{self, Process, SUPERVISOR, WORKER};
use crate::report::since;
use crate::sessions::now;
use crate::told;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The counts that are shown, by the names that popward-metrics has, and in words.
const SHOWN: [(&str, &str); 7] = [
    ("logins", "logins that opened a maildrop"),
    ("login_failures", "logins with wrong credentials"),
    ("maildrops_not_opened", "maildrops not opened"),
    ("connections_refused", "connections refused by a limit"),
    ("updates", "updates of spools"),
    ("locks_lost", "locks lost"),
    ("processes_died", "processes died"),
];

/// All that is known.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    processes: Vec<Process>,
    /// Why there are no counts.
    no_counts: Option<String>,
    counts: BTreeMap<String, f64>,
}

impl Status {
    /// Looks at the processes, and asks for the counts.
    ///
    /// # Errors
    ///
    /// Why the processes cannot be seen.
    pub(crate) fn read() -> Result<Self, String> {
        let (counts, no_counts) = match told::counts() {
            Ok(counts) => (counts, None),
            Err(why) => (BTreeMap::new(), Some(why)),
        };
        Ok(Self {
            processes: processes::all()?,
            no_counts,
            counts,
        })
    }

    fn runs(&self) -> bool {
        self.processes
            .iter()
            .any(|process| process.name == SUPERVISOR)
    }

    /// How many processes of each kind there are, of those that `which` chooses.
    fn kinds(&self, which: fn(&Process) -> bool) -> String {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for process in self.processes.iter().filter(|process| which(process)) {
            let name = process.name.strip_prefix("popward-");
            *kinds.entry(name.unwrap_or("supervisor")).or_default() += 1;
        }
        let kinds = kinds.iter().map(|(name, count)| format!("{name} {count}"));
        kinds.collect::<Vec<_>>().join(", ")
    }

    /// As lines for a terminal.
    pub(crate) fn text(&self, now: u64) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let name = format!("{name}:");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<10} {value}");
        };
        for server in self
            .processes
            .iter()
            .filter(|process| process.name == SUPERVISOR)
        {
            let age = since(now.saturating_sub(server.since));
            line("server", &format!("process {}, runs for {age}", server.pid));
        }
        if !self.runs() {
            line("server", "does not run");
        }
        for (name, which) in [
            ("processes", (|_| true) as fn(&Process) -> bool),
            ("replaced", |process| process.replaced),
        ] {
            let kinds = self.kinds(which);
            if !kinds.is_empty() {
                line(name, &kinds);
            }
        }
        let sum = |of: fn(&Process) -> u64| self.processes.iter().map(of).sum::<u64>();
        let (memory, time) = (sum(|one| one.resident_kib), sum(|one| one.processor_ms));
        line(
            "memory",
            &format!("{} MiB, with what processes share", memory / 1024),
        );
        line(
            "processor",
            &format!("{} s used by these processes", time / 1000),
        );
        let workers = self
            .processes
            .iter()
            .filter(|process| process.name == WORKER);
        line("sessions", &workers.count().to_string());
        match &self.no_counts {
            Some(why) => line("counts", &format!("none: {why}")),
            // A start of the server does not begin them anew.
            None => line("counts", "since popward-metrics began"),
        }
        for (name, words) in SHOWN {
            if let Some(count) = self.counts.get(name) {
                // A count is a whole number.
                let _ = writeln!(text, "{count:>10} {words}");
            }
        }
        text
    }
}

/// `popwardctl status`. The exit status says whether the server runs.
pub(crate) fn main(json: bool) -> ExitCode {
    let status = match Status::read() {
        Ok(status) => status,
        Err(why) => return complain(&why, FAILED),
    };
    let text = if json {
        match serde_json::to_string(&status) {
            Ok(text) => text + "\n",
            Err(error) => return complain(&error, FAILED),
        }
    } else {
        status.text(now())
    };
    let printed = print(&text);
    if status.runs() {
        printed
    } else {
        ExitCode::from(NOT_RUNNING)
    }
}

/// Exit status: the server does not run.
const NOT_RUNNING: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, name: &str) -> Process {
        Process {
            pid,
            parent: 1,
            name: name.to_owned(),
            uid: 0,
            since: 1000,
            processor_ms: 700,
            resident_kib: 1024,
            session: None,
            replaced: name == "popward",
        }
    }

    #[test]
    fn a_server_is_shown_with_its_counts() {
        let status = Status {
            processes: [
                "popward",
                "popward-front",
                "popward-front",
                "popward-worker",
            ]
            .iter()
            .zip(1..)
            .map(|(name, pid)| process(pid, name))
            .collect(),
            no_counts: None,
            counts: [("logins".to_owned(), 12.0)].into(),
        };
        let expected = "server:    process 1, runs for 90 s\n\
            processes: front 2, supervisor 1, worker 1\n\
            replaced:  supervisor 1\n\
            memory:    4 MiB, with what processes share\n\
            processor: 2 s used by these processes\n\
            sessions:  1\n\
            counts:    since popward-metrics began\n        12 logins that opened a maildrop\n";
        assert_eq!(status.text(1090), expected);
    }

    #[test]
    fn a_server_that_does_not_run_is_said() {
        let status = Status {
            processes: Vec::new(),
            no_counts: Some("why".to_owned()),
            counts: BTreeMap::new(),
        };
        let text = status.text(1090);
        assert!(text.starts_with("server:    does not run\n"), "{text}");
        assert!(text.contains("counts:    none: why\n"), "{text}");
        assert!(!status.runs());
    }
}
