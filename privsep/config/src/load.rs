//! Reads the whole configuration and checks it before any process of the server starts. An error
//! names the file, the line and the expected value.

use crate::check;
use crate::config::Config;
use crate::excerpt::excerpt;
use crate::file;
use crate::host::Host;
use crate::mistakes::{self, Mistake};
use crate::sources::{Failure, Sources};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::de::Deserializer;

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// A file cannot be read, or another user can change it. The text says why, or which owner and
    /// mode were expected.
    Unusable(PathBuf, String),
    /// A file is not TOML, or has unknown keys or wrong values. These are all mistakes that were
    /// found, in the order of the files.
    Invalid(Sources, Vec<Mistake>),
}

impl ConfigError {
    /// Returns all mistakes, each with the line of the file and a mark under the place, for a
    /// terminal.
    pub(crate) fn with_excerpts(&self) -> String {
        let Self::Invalid(sources, mistakes) = self else {
            return self.to_string();
        };
        let shown = mistakes
            .iter()
            .map(|mistake| located(sources, mistake) + &excerpt(sources, mistake));
        shown.collect::<Vec<_>>().join("\n")
    }
}

fn located(sources: &Sources, mistake: &Mistake) -> String {
    let place = sources.place(mistake.place.start);
    format!("{place}: {}", mistake.expected)
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(path, why) => write!(out, "{}: {why}", path.display()),
            Self::Invalid(sources, mistakes) => {
                let all = mistakes.iter().map(|mistake| located(sources, mistake));
                out.write_str(&all.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks the file `path` and those beside it. Returns the configuration or an error, and
/// the warnings. Each warning names the file and the line.
pub(crate) fn load(path: &Path, host: &Host) -> (Result<Config, ConfigError>, Vec<String>) {
    let sources = match Sources::read(path, host) {
        Ok(sources) => sources,
        Err((path, why)) => return (Err(ConfigError::Unusable(path, why)), Vec::new()),
    };
    let config = config(&sources, host);
    let placed =
        |(offset, warning): (usize, String)| format!("{}: {warning}", sources.place(offset));
    let warnings = host.warnings().into_iter().map(placed).collect();
    let invalid = |mistakes| ConfigError::Invalid(sources, mistakes);
    (config.map_err(invalid), warnings)
}

/// Checks the texts of the files.
fn config(sources: &Sources, host: &Host) -> Result<Config, Vec<Mistake>> {
    mistakes::all(sources, |text| {
        // A former reading has given the same warnings, and more.
        host.warnings();
        let parts = sources.parts(text);
        let merged = Deserializer::from(sources.merged(&parts)?);
        let file =
            file::File::deserialize(merged).map_err(|error| Failure::of_form(error, text.len()))?;
        check::check(file, host).map_err(|problem| Failure::Value(problem.offset, problem.expected))
    })
}

/// Checks `text`, the contents of the file `path`.
#[cfg(test)]
pub(crate) fn from_text(path: &Path, text: &str, host: &Host) -> Result<Config, ConfigError> {
    let sources = Sources::of(path, text);
    config(&sources, host).map_err(|mistakes| ConfigError::Invalid(sources, mistakes))
}

#[cfg(test)]
mod tests;
