//! Reads the whole configuration and checks it before any process of the server starts. An error
//! names the file, the line and the expected value.

use crate::check;
use crate::excerpt::excerpt;
use crate::file;
use crate::host::Host;
use crate::mistakes::{self, Failure, Mistake};
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_auth::AuthSettings;
use popward_proto::monitor_config::{Base, Member};
use popward_proto::settings::Table;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// All settings that have no field of their own below.
    pub(crate) base: Box<Base>,
    /// The settings for auth.
    pub(crate) auth: Box<AuthSettings>,
    /// The `[[account]]` tables, in the order of the file.
    pub(crate) tables: Vec<Table>,
    /// The members of the groups that tables with a `spool.path` name.
    pub(crate) members: Vec<Member>,
    /// The authorities of client certificates, a PEM file. `None`: fronts ask no client for a
    /// certificate.
    pub(crate) client_ca: Option<Named>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Vec<Certificate>,
}

/// The path of a file, and the open file.
pub(crate) type Named = (AbsolutePath, File);

/// A certificate chain and its private key: two PEM files.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain. The server's own certificate comes first.
    pub(crate) chain: Named,
    /// The private key.
    pub(crate) key: Named,
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// Another user can change the file. The text says which owner and mode were expected.
    Foreign(PathBuf, String),
    /// The file is not TOML, or has unknown keys or wrong values.
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its contents.
        text: String,
        /// All mistakes that were found, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

impl ConfigError {
    /// Returns all mistakes, each with the line of the file and a mark under the place, for a
    /// terminal.
    pub(crate) fn with_excerpts(&self) -> String {
        let Self::Invalid {
            path,
            text,
            mistakes,
        } = self
        else {
            return self.to_string();
        };
        let shown = mistakes.iter().map(|mistake| {
            let excerpt = excerpt(text, mistake);
            format!("{}{excerpt}", located(path, text, mistake))
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}

fn located(path: &Path, text: &str, mistake: &Mistake) -> String {
    let line = line(text, mistake.place.start);
    format!("{}:{line}: {}", path.display(), mistake.expected)
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(out, "{}: {error}", path.display()),
            Self::Foreign(path, expected) => write!(out, "{}: {expected}", path.display()),
            Self::Invalid {
                path,
                text,
                mistakes,
            } => {
                let all = mistakes.iter().map(|mistake| located(path, text, mistake));
                out.write_str(&all.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks the file `path`. Returns the configuration or an error, and the warnings. Each
/// warning names the file and the line.
pub(crate) fn load(path: &Path, host: &Host) -> (Result<Config, ConfigError>, Vec<String>) {
    let text = match readable(path, host) {
        Ok(text) => text,
        Err(error) => return (Err(error), Vec::new()),
    };
    let config = from_text(path, &text, host);
    let placed = |(offset, warning): (usize, String)| {
        format!("{}:{}: {warning}", path.display(), line(&text, offset))
    };
    (config, host.warnings().into_iter().map(placed).collect())
}

/// Reads the file. Refuses a file that others can change.
fn readable(path: &Path, host: &Host) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable(path.to_owned(), error);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let whole = std::path::absolute(path).map_err(unreadable)?;
    let foreign = |expected| ConfigError::Foreign(path.to_owned(), expected);
    host.owners.of(&whole).map_err(foreign)?;
    Ok(text)
}

/// The number of the line, from 1, that holds the byte at `offset`.
fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or("").matches('\n').count() + 1
}

/// Checks `text`, the contents of the file `path`.
pub(crate) fn from_text(path: &Path, text: &str, host: &Host) -> Result<Config, ConfigError> {
    let once = |text: &str| {
        // A former reading has given the same warnings, and more.
        host.warnings();
        let file: file::File = toml::from_str(text).map_err(Failure::Form)?;
        check::check(file, host).map_err(|problem| Failure::Value(problem.offset, problem.expected))
    };
    mistakes::all(text, once).map_err(|mistakes| ConfigError::Invalid {
        path: path.to_owned(),
        text: text.to_owned(),
        mistakes,
    })
}

#[cfg(test)]
mod tests;
