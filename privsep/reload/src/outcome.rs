//! Reads the file with the outcome of the last start or reload. The monitor writes this file
//! (`privsep/monitor/src/outcome.rs`).

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The directory of the file if `$RUNTIME_DIRECTORY` is not set: the one that systemd makes for the
/// unit's `RuntimeDirectory=popward`.
const DIRECTORY: &str = "/run/popward";

/// The state of a start or a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has begun and not ended.
    UnderWay,
    /// It has ended. Its configuration is in use.
    Done,
    /// It has failed. The old configuration stays in use.
    Failed,
}

/// The file's one line: `PID NUMBER VERSION STATE TEXT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The monitor's process id.
    pub(crate) pid: u32,
    /// The number of the start or reload: 0 is the start, 1 is the first reload.
    pub(crate) number: u32,
    /// The server's [`popward_proto::VERSION`].
    pub(crate) version: u32,
    /// The state of the start or reload.
    pub(crate) state: State,
    /// The outcome in words for the operator.
    pub(crate) text: String,
}

impl Outcome {
    /// Returns the path of the file. It is in `$RUNTIME_DIRECTORY`, in its first directory if it
    /// names several, as for the monitor.
    pub(crate) fn file() -> PathBuf {
        let all = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
        let first = all.split(':').next().filter(|first| !first.is_empty());
        Path::new(first.unwrap_or(DIRECTORY)).join("reload")
    }

    /// Reads `file`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or does not have the form of an outcome. The text is in words for
    /// the operator. A server of another version may write another form: see [`Self::is_foreign`].
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let told = |why: &dyn Display| format!("{}: {why}", file.display());
        let line = std::fs::read_to_string(file).map_err(|error| told(&error))?;
        Self::parse(&line).ok_or_else(|| told(&"expected `PID NUMBER VERSION STATE TEXT`"))
    }

    /// Whether a server of another version has written the file, in another form.
    pub(crate) fn is_foreign(file: &Path) -> bool {
        std::fs::read_to_string(file).is_ok_and(|line| Self::parse(&line).is_none())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(5, ' ');
        let mut next = || words.next();
        let (pid, number) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let version = next()?.parse().ok()?;
        let state = match next()? {
            "under-way" => State::UnderWay,
            "done" => State::Done,
            "failed" => State::Failed,
            _ => return None,
        };
        let text = next()?.to_owned();
        Some(Self {
            pid,
            number,
            version,
            state,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_with_all_five_parts_is_an_outcome() {
        let text = "reload failed: a.toml:7: expected a number".to_owned();
        let (pid, number, version, state) = (812, 3, 77, State::Failed);
        let outcome = Outcome {
            pid,
            number,
            version,
            state,
            text,
        };
        let line = "812 3 77 failed reload failed: a.toml:7: expected a number\n";
        assert_eq!(Outcome::parse(line), Some(outcome));
        for line in [
            "",
            "812",
            "812 3 77 failed",
            "812 3 77 lost it",
            "-1 3 77 done it",
            "812 x 77 done it",
            "812 3 x done it",
            "812 3 done it",
        ] {
            assert_eq!(Outcome::parse(line), None, "{line}");
        }
    }
}
