//! The configuration: read whole, checked whole, before anything is started. An error names file, line and what was
//! expected.

use crate::check;
use crate::file;
use crate::host::Host;
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_auth::AuthSettings;
use popward_proto::monitor_config::{Base, Member};
use popward_proto::settings::Table;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Config {
    /// All that is not below.
    pub(crate) base: Box<Base>,
    /// What auth is told.
    pub(crate) auth: Box<AuthSettings>,
    /// What holds for some accounts, in the order of the file.
    pub(crate) tables: Vec<Table>,
    /// Who is in the groups of tables with a `spool.path`.
    pub(crate) members: Vec<Member>,
    /// The authorities of client certificates, a PEM file; `None`: no client is asked for one.
    pub(crate) client_ca: Option<Named>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Vec<Certificate>,
}

/// A file that was opened, and where it is.
pub(crate) type Named = (AbsolutePath, File);

/// A certificate chain and its key: two PEM files.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The chain, the server's own certificate first.
    pub(crate) chain: Named,
    /// The private key.
    pub(crate) key: Named,
}

/// Why a configuration cannot be run.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    Unreadable(PathBuf, std::io::Error),
    /// Somebody else could change the file. What was expected.
    Foreign(PathBuf, String),
    /// A value, or the file's form, is not what was expected.
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected.
        expected: String,
    },
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(out, "{}: {error}", path.display()),
            Self::Foreign(path, expected) => write!(out, "{}: {expected}", path.display()),
            Self::Invalid {
                path,
                line,
                expected,
            } => {
                write!(out, "{}:{line}: {expected}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks `path`. Warnings about it come beside.
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

fn readable(path: &Path, host: &Host) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable(path.to_owned(), error);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let whole = std::path::absolute(path).map_err(unreadable)?;
    let foreign = |expected| ConfigError::Foreign(path.to_owned(), expected);
    host.owners.of(&whole).map_err(foreign)?;
    Ok(text)
}

/// The line, from 1, in which a byte of the text is.
fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or("").matches('\n').count() + 1
}

/// Checks the text of `path`.
pub(crate) fn from_text(path: &Path, text: &str, host: &Host) -> Result<Config, ConfigError> {
    let invalid = |offset: usize, expected: String| ConfigError::Invalid {
        path: path.to_owned(),
        line: line(text, offset),
        expected,
    };
    let file: file::File = toml::from_str(text).map_err(|e| {
        invalid(
            e.span().map_or(0, |span| span.start),
            e.message().to_owned(),
        )
    })?;
    check::check(file, host).map_err(|problem| invalid(problem.offset, problem.expected))
}

#[cfg(test)]
mod tests;
