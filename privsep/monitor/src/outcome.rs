//! What came of the start and of each reload. The service manager is told, and a file has it for `popward reload`.
//!
//! The monitor only writes this file, because it parses nothing that comes from outside. The file is in the runtime
//! directory that the service manager made (`RuntimeDirectory=`, in `$RUNTIME_DIRECTORY`). It is not in the state directory:
//! several hosts can share that one. Without a runtime directory there is no file.

use crate::notify::{notify, uptime_us, utc};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Tells what becomes of the start and of reloads.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Its line is `PID NUMBER STATE TEXT`. Number 0 is the start, 1 the first reload.
    file: Option<PathBuf>,
    number: u32,
    /// The file of the configuration in use, and since when it is.
    configuration: PathBuf,
    since: SystemTime,
}

impl Outcomes {
    /// The server starts with the configuration in this file.
    pub(crate) fn new(configuration: PathBuf) -> Self {
        let all = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
        let first = all.split(':').next().filter(|first| !first.is_empty());
        Self {
            file: first.map(|directory| Path::new(directory).join("reload")),
            number: 0,
            configuration,
            since: SystemTime::now(),
        }
    }

    /// The start begins. An error says why the file was not written; so it does with all others.
    pub(crate) fn start(&self) -> Result<(), String> {
        self.tell("", "under-way", "starting")
    }

    /// A reload begins.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        self.number = self.number.wrapping_add(1);
        let reloading = format!("RELOADING=1\nMONOTONIC_USEC={}\n", uptime_us());
        self.tell(&reloading, "under-way", "reloading")
    }

    /// The configuration that was read is in use from now on.
    pub(crate) fn done(&mut self) -> Result<(), String> {
        self.since = SystemTime::now();
        let (path, since) = (self.configuration.display(), utc(self.since));
        let text = format!("configuration of {path} in use since {since}");
        self.tell("READY=1\n", "done", &text)
    }

    /// The reload failed. The configuration before it stays in use.
    pub(crate) fn failed(&self, why: &dyn Display) -> Result<(), String> {
        let since = utc(self.since);
        let text =
            format!("reload failed: {why}; the old configuration stays in use, since {since}");
        self.tell("READY=1\n", "failed", &text)
    }

    fn tell(&self, to_manager: &str, state: &str, text: &str) -> Result<(), String> {
        // One line, whatever is in it.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        notify(&format!("{to_manager}STATUS={text}"));
        let Some(file) = &self.file else {
            return Ok(());
        };
        let line = format!("{} {} {state} {text}\n", std::process::id(), self.number);
        // Under another name first, so that nobody reads a half of it.
        let draft = file.with_extension("new");
        let written = std::fs::write(&draft, line).and_then(|()| std::fs::rename(&draft, file));
        written.map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Drop for Outcomes {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // It may not have been written.
            let _ = std::fs::remove_file(file);
        }
    }
}
