//! supervisor ↔ config: a configuration that was read and checked, as typed messages, with the
//! descriptors of the files that it names.
//!
//! The supervisor passes the same messages on to the monitor that serves with this configuration.

use crate::bounded::{AbsolutePath, List, Text, UserName};
use crate::log::Level;
use crate::monitor_auth::{AuthSettings, SetupPhase};
use crate::monitor_front::{FrontSettings, LISTENERS_MAX};
use crate::permit::{Message, Permit, any, once};
use crate::proxies::ProxyHeaders;
use crate::settings::{Settings, Table};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Most certificates with their keys.
pub const CERTIFICATES_MAX: usize = 16;

/// Most warnings about one configuration.
pub const WARNINGS_MAX: usize = 64;

/// Most [`Member`]s: users of the system who have a state directory and are in a group of a table
/// with a `spool.path`.
pub const MEMBERS_MAX: usize = 65_536;

/// What is said to the operator, for each mistake: file, line, what was found, what was expected.
pub type Finding = Text<8192>;

/// What the supervisor tells popward-config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorToConfig {
    /// The first message and the only one: read this file.
    Read {
        /// [`crate::VERSION`].
        version: u32,
        /// The file, as the operator named it. A relative path is one from the working directory.
        path: Text<4096>,
        /// Whether to show the lines with the mistakes, for a terminal.
        excerpts: bool,
    },
}

/// What popward-config tells the supervisor, and the supervisor a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToMonitor {
    /// The configuration can be used, and the operator should see this. Not passed on to a monitor.
    Warning(Finding),
    /// Why the configuration cannot be used. Nothing comes after it, and it is not passed on.
    Refused(Finding),
    /// All that is not in another message.
    Base(Box<Base>),
    /// What auth is told.
    Auth(Box<AuthSettings>),
    /// What holds for some accounts. The first table comes first.
    Table(Box<Table>),
    /// Who is in a group for which there is another `spool.path`.
    Member(Member),
    /// The authorities of client certificates: one descriptor, a PEM file. Without it no client is
    /// asked for a certificate.
    ClientAuthorities(AbsolutePath),
    /// A certificate: two descriptors, the PEM files of its chain and of its key. The most
    /// preferred comes first.
    Certificate {
        /// Where the chain is, for the log.
        chain: AbsolutePath,
        /// Where the key is, for the log.
        key: AbsolutePath,
    },
    /// Everything was said.
    End,
}

/// The part of a configuration that is one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Where the other executables are.
    pub libexec: AbsolutePath,
    /// Where users' state directories are.
    pub state: AbsolutePath,
    /// This host's name, as locks say it.
    pub host: Text<64>,
    /// How long running sessions may go on after SIGTERM, in seconds.
    pub grace_s: u16,
    /// How many front processes, 1 to 64.
    pub fronts: u32,
    /// The users that the processes run as. `None`: popward is not root, and all processes run as
    /// its user.
    pub accounts: Option<Accounts>,
    /// Where to listen.
    pub listen: List<Listen, LISTENERS_MAX>,
    /// What holds for accounts that no table names.
    pub everybody: Settings,
    /// What fronts are told. The monitor puts each front's number in, and the supervisor whether
    /// `limits.connections` is as before.
    pub front: FrontSettings,
    /// Where the log goes, and from which level on.
    pub log: LogSettings,
}

/// Who the unprivileged processes run as: user and group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The front's.
    pub front: (u32, u32),
    /// Auth's.
    pub auth: (u32, u32),
    /// Keys'.
    pub keys: (u32, u32),
    /// That of popward-auth-program and popward-auth-proof. It is auth's if the configuration has no
    /// use for these.
    pub program: (u32, u32),
    /// That of popward-auth-pam, and the group that it has in addition. `None`: accounts do not
    /// come from PAM. Only this user can be root.
    pub pam: Option<((u32, u32), Option<u32>)>,
}

/// An address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS begins with the connection.
    pub tls: bool,
    /// Which connections begin with a PROXY header.
    pub headers: ProxyHeaders,
}

/// Where the log goes, and from which level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Where to.
    pub to: Destination,
    /// The least important level that is written.
    pub level: Level,
}

/// Where the log can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The supervisor's standard error.
    Stderr,
    /// journald's native socket, with fields.
    Journald,
    /// syslog's socket.
    Syslog,
}

/// A user of the system with a state directory, and a group that this user has beside the primary
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user's name.
    pub user: UserName,
    /// The user's id, as the system says it.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
}

impl Message for SupervisorToConfig {
    const LIMIT: usize = 4200;
    type Phase = SetupPhase;
    fn permit(&self) -> Permit<SetupPhase> {
        match self {
            Self::Read { .. } => once("Read", &[SetupPhase::Starting]),
        }
    }
}

/// The receiver's phases while it is told a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingPhase {
    /// The base is to come.
    Base,
    /// The base has come, and the rest is to come.
    Rest,
    /// Everything has come.
    Whole,
}

impl Message for ConfigToMonitor {
    const LIMIT: usize = 16 * 1024 - 1;
    type Phase = ReadingPhase;
    fn permit(&self) -> Permit<ReadingPhase> {
        use ReadingPhase::{Base, Rest};
        match self {
            Self::Warning(_) => any("Warning", &[Base, Rest]),
            Self::Refused(_) => once("Refused", &[Base, Rest]),
            Self::Base(_) => once("Base", &[Base]),
            Self::Auth(_) => once("Auth", &[Rest]),
            Self::Table(_) => any("Table", &[Rest]),
            Self::Member(_) => any("Member", &[Rest]),
            Self::ClientAuthorities(_) => once("ClientAuthorities", &[Rest]).with_descriptors(1),
            Self::Certificate { .. } => any("Certificate", &[Rest]).with_descriptors(2),
            Self::End => once("End", &[Rest]),
        }
    }
}
