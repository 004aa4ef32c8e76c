//! The file that tells how the last reload went. The monitor writes it (`privsep/monitor/src/outcome.rs`).

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Where the file is when nobody says otherwise: where the unit's `RuntimeDirectory=popward` puts it.
const DIRECTORY: &str = "/run/popward";

/// How far a start or a reload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has begun.
    UnderWay,
    /// Its configuration is in use.
    Done,
    /// It changed nothing.
    Failed,
}

/// The file's one line: `PID NUMBER STATE TEXT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The monitor's process id.
    pub(crate) pid: u32,
    /// Which one: 0 is the start, 1 the first reload.
    pub(crate) number: u32,
    /// How far it has come.
    pub(crate) state: State,
    /// The same in words.
    pub(crate) text: String,
}

impl Outcome {
    /// Where the file is: in `$RUNTIME_DIRECTORY`, as for the monitor.
    pub(crate) fn file() -> PathBuf {
        let all = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
        let first = all.split(':').next().filter(|first| !first.is_empty());
        Path::new(first.unwrap_or(DIRECTORY)).join("reload")
    }

    /// Reads `file`. An error is in words for the operator.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let told = |why: &dyn Display| format!("{}: {why}", file.display());
        let line = std::fs::read_to_string(file).map_err(|error| told(&error))?;
        Self::parse(&line).ok_or_else(|| told(&"expected `PID NUMBER STATE TEXT`"))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(4, ' ');
        let mut next = || words.next();
        let (pid, number) = (next()?.parse().ok()?, next()?.parse().ok()?);
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
            state,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_is_an_outcome() {
        let text = "reload failed: a.toml:7: expected a number".to_owned();
        let (pid, number, state) = (812, 3, State::Failed);
        let outcome = Outcome {
            pid,
            number,
            state,
            text,
        };
        let line = "812 3 failed reload failed: a.toml:7: expected a number\n";
        assert_eq!(Outcome::parse(line), Some(outcome));
        for line in [
            "",
            "812",
            "812 3 failed",
            "812 3 lost it",
            "-1 3 done it",
            "812 x done it",
        ] {
            assert_eq!(Outcome::parse(line), None, "{line}");
        }
    }
}
