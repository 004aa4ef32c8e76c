//! Reports the outcome of the start and of each reload, to the service manager and in a file for
//! `popward reload`.
//!
//! The supervisor writes this file and never reads it, because it parses nothing that comes from
//! outside. The file is in the runtime directory that the service manager made
//! (`RuntimeDirectory=`, in `$RUNTIME_DIRECTORY`). It is not in the state directory, because
//! several hosts can share that one. Without a runtime directory there is no file.

use crate::notify::{notify, uptime_us, utc};
use popward_proto::VERSION;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What comes of the start and of a reload.
#[derive(Clone, Copy)]
pub(crate) enum Outcome<'a> {
    /// A reload begins.
    Begins,
    /// The start begins, or a reload is wanted and cannot begin. The text says which.
    UnderWay(&'a str),
    /// The new configuration is in use from now on.
    Done,
    /// The reload failed, and the old configuration stays in use.
    Failed(&'a dyn Display),
}

/// Reports the start and the reloads.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// The file has one line: `PID NUMBER VERSION STATE TEXT`. The version is [`VERSION`].
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

    /// Reports `outcome`.
    ///
    /// # Errors
    ///
    /// Why the file could not be written.
    pub(crate) fn report(&mut self, outcome: Outcome<'_>) -> Result<(), String> {
        match outcome {
            Outcome::Begins => {
                self.number = self.number.wrapping_add(1);
                let reloading = format!("RELOADING=1\nMONOTONIC_USEC={}\n", uptime_us());
                self.tell(&reloading, "under-way", "reloading")
            }
            Outcome::UnderWay(text) => self.tell("", "under-way", text),
            Outcome::Done => {
                self.since = SystemTime::now();
                let (path, since) = (self.configuration.display(), utc(self.since));
                let text = format!("configuration of {path} in use since {since}");
                self.tell("READY=1\n", "done", &text)
            }
            Outcome::Failed(why) => {
                let since = utc(self.since);
                let kept = format!("the old configuration stays in use, since {since}");
                self.tell(
                    "READY=1\n",
                    "failed",
                    &format!("reload failed: {why}; {kept}"),
                )
            }
        }
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
        let (pid, number) = (std::process::id(), self.number);
        let line = format!("{pid} {number} {VERSION} {state} {text}\n");
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
