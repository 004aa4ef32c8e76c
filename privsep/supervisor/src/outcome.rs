//! Reports the outcome of the start and of each reload, to the service manager and in a file for
//! `popward reload`.
//!
//! The supervisor writes this file and never reads it, because it parses nothing that comes from
//! outside. The file is in the runtime directory that the service manager made
//! (`RuntimeDirectory=`, in `$RUNTIME_DIRECTORY`). It is not in the state directory, because
//! several hosts can share that one. Without a runtime directory there is no file.

use crate::notify::{notify, uptime_us, utc};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Reports the start and the reloads.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// The file has one line: `PID NUMBER STATE TEXT`.
    file: Option<PathBuf>,
    /// 0 is the start, 1 is the first reload.
    number: u32,
    /// The path of the configuration.
    configuration: PathBuf,
    /// Since when the current configuration is in use.
    since: SystemTime,
}

impl Outcomes {
    /// For a server that starts with the configuration in this file.
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

    /// Reports that the start begins.
    ///
    /// # Errors
    ///
    /// Why the file could not be written. The same holds for the other reports.
    pub(crate) fn start(&self) -> Result<(), String> {
        self.tell("", "under-way", "starting")
    }

    /// Reports that a reload begins.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        self.number = self.number.wrapping_add(1);
        let reloading = format!("RELOADING=1\nMONOTONIC_USEC={}\n", uptime_us());
        self.tell(&reloading, "under-way", "reloading")
    }

    /// Reports that the new configuration is in use from now on.
    pub(crate) fn done(&mut self) -> Result<(), String> {
        self.since = SystemTime::now();
        let (path, since) = (self.configuration.display(), utc(self.since));
        let text = format!("configuration of {path} in use since {since}");
        self.tell("READY=1\n", "done", &text)
    }

    /// Reports that the reload failed and the old configuration stays in use.
    pub(crate) fn failed(&self, why: &dyn Display) -> Result<(), String> {
        let since = utc(self.since);
        let text =
            format!("reload failed: {why}; the old configuration stays in use, since {since}");
        self.tell("READY=1\n", "failed", &text)
    }

    /// A reload is wanted and cannot begin.
    pub(crate) fn waits(&self, why: &str) -> Result<(), String> {
        self.tell("", "under-way", why)
    }

    fn tell(&self, to_manager: &str, state: &str, text: &str) -> Result<(), String> {
        // Control characters become spaces, because the report must stay one line.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        notify(&format!("{to_manager}STATUS={text}"));
        let Some(file) = &self.file else {
            return Ok(());
        };
        let line = format!("{} {} {state} {text}\n", std::process::id(), self.number);
        // The line goes to a file with another name first, so that no reader sees half of it.
        let draft = file.with_extension("new");
        let written = std::fs::write(&draft, line).and_then(|()| std::fs::rename(&draft, file));
        written.map_err(|error| {
            // An older outcome would keep `popward reload` waiting. It may be missing already.
            let _ = std::fs::remove_file(file);
            format!("{}: {error}", file.display())
        })
    }
}

impl Drop for Outcomes {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // The file may be missing, because writing it may have failed.
            let _ = std::fs::remove_file(file);
        }
    }
}
