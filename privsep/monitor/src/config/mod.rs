//! The configuration: read whole, checked whole, before anything is started. An error names file, line and what was
//! expected.

mod check;
mod file;
mod members;
mod owner;
mod removed;
pub(crate) mod settings;

use owner::Owners;
use popward_proto::bounded::{AbsolutePath, Text};
use popward_proto::monitor_auth::AuthSettings;
use popward_proto::monitor_front::FrontSettings;
use popward_proto::proxies::ProxyHeaders;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where it came from, for a reload.
    pub(crate) path: PathBuf,
    /// Where the other executables are.
    pub(crate) libexec: PathBuf,
    /// Where users' state directories are.
    pub(crate) state: PathBuf,
    /// This host's name, as locks say it.
    pub(crate) host: Text<64>,
    /// How long running sessions may go on after SIGTERM.
    pub(crate) grace: Duration,
    /// How many front processes.
    pub(crate) fronts: u32,
    /// Who the processes run as; `None` where the monitor is not root and everybody is its own user.
    pub(crate) accounts: Option<Accounts>,
    /// Where to listen.
    pub(crate) listen: Vec<Listen>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Vec<Certificate>,
    /// The authorities of client certificates, a PEM file; `None`: no client is asked for one.
    pub(crate) client_ca: Option<AbsolutePath>,
    /// What auth is told.
    pub(crate) auth: AuthSettings,
    /// What may differ between accounts.
    pub(crate) settings: settings::AllSettings,
    /// Whose settings a group's are, as far as that says where spools are.
    pub(crate) members: members::Members,
    /// What fronts are told.
    pub(crate) front: FrontSettings,
    /// Where the log goes, and from which level on.
    pub(crate) log: crate::log::Settings,
}

/// Who the unprivileged processes run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// The front's user and group id.
    pub(crate) front: (u32, u32),
    /// Auth's; 0 where PAM needs it.
    pub(crate) auth: (u32, u32),
    /// Keys'.
    pub(crate) keys: (u32, u32),
}

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The address.
    pub(crate) address: SocketAddr,
    /// Whether TLS begins with the connection.
    pub(crate) tls: bool,
    /// Which connections begin with a PROXY header.
    pub(crate) headers: ProxyHeaders,
}

/// A certificate chain and its key: two PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The chain, the server's own certificate first.
    pub(crate) chain: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
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

impl Config {
    /// Reads and checks `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable(path.to_owned(), error);
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let whole = std::path::absolute(path).map_err(unreadable)?;
        let foreign = |expected| ConfigError::Foreign(path.to_owned(), expected);
        Owners::of_the_configuration().of(&whole).map_err(foreign)?;
        Self::from_text(path, &text)
    }

    /// Checks the text of `path`.
    pub(crate) fn from_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |offset: usize, expected: String| ConfigError::Invalid {
            path: path.to_owned(),
            line: text.get(..offset).unwrap_or("").matches('\n').count() + 1,
            expected,
        };
        let file: file::File = toml::from_str(text).map_err(|e| {
            invalid(
                e.span().map_or(0, |span| span.start),
                e.message().to_owned(),
            )
        })?;
        check::check(path, file).map_err(|problem| invalid(problem.offset, problem.expected))
    }
}

#[cfg(test)]
mod tests;
