//! A configuration with all that popward-config hands over.

use crate::file;
use popward_proto::bounded::AbsolutePath;
use popward_proto::config_monitor::Base;
use popward_proto::config_sessions::{Member, SessionsBase};
use popward_proto::monitor_auth::AuthSettings;
use popward_proto::settings::Table;
use popward_proto::supervisor_config::SupervisorSettings;
use std::fs::File;

/// The file that is read by default.
pub(crate) const DEFAULT: &str = "/etc/popward/popward.toml";

/// A configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Config {
    /// The settings for the supervisor.
    pub(crate) supervisor: Box<SupervisorSettings>,
    /// All other settings that have no field of their own below.
    pub(crate) base: Box<Base>,
    /// The settings for auth.
    pub(crate) auth: Box<AuthSettings>,
    /// The settings for sessions.
    pub(crate) sessions: Box<SessionsBase>,
    /// The `[[account]]` tables, in the order of the file.
    pub(crate) tables: Vec<Table>,
    /// The members of the groups that tables with a `spool.path` name.
    pub(crate) members: Vec<Member>,
    /// The authorities of client certificates, a PEM file. `None`: fronts ask no client for a
    /// certificate.
    pub(crate) client_ca: Option<Named>,
    /// Certificates with their keys, in order of preference.
    pub(crate) certificates: Vec<Certificate>,
    /// All keys with their values, for `popward config`.
    pub(crate) file: Box<file::File>,
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
