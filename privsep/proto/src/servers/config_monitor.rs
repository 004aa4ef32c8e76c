//! config → monitor: all that a monitor and its processes are told of a configuration, as typed
//! messages with the descriptors of the files that it names.
//!
//! The supervisor passes these messages on without decoding them: see [`crate::supervisor_config`].

use crate::account_selector::{AccountSelector, TABLES_MAX};
use crate::bounded::AbsolutePath;
use crate::monitor_auth::AuthSettings;
use crate::monitor_front::FrontSettings;
use crate::permit::{Message, Permit, any, once};
use crate::supervisor_config::PART_MAX;
use serde::{Deserialize, Serialize};

/// Most certificates with their keys.
pub const CERTIFICATES_MAX: usize = 16;

/// Most messages: login delays, certificates and four others.
pub(crate) const MESSAGES_MAX: usize = TABLES_MAX + CERTIFICATES_MAX + 4;

/// What popward-config tells a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToMonitor {
    /// All that is not in another message.
    Base(Box<Base>),
    /// What auth is told.
    Auth(Box<AuthSettings>),
    /// The login delay of these accounts, in seconds. The first message that names an account
    /// counts.
    LoginDelay(AccountSelector, u32),
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
    /// How many front processes, 1 to 64.
    pub fronts: u32,
    /// The users that the processes run as. `None`: popward is not root, and all processes run as
    /// its user.
    pub accounts: Option<Accounts>,
    /// What fronts are told. The monitor puts each front's number in, and whether
    /// `limits.connections` is as before.
    pub front: FrontSettings,
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

/// A monitor's phases while it is told a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingPhase {
    /// The base is to come.
    Base,
    /// The base has come, and the rest is to come.
    Rest,
}

impl Message for ConfigToMonitor {
    const LIMIT: usize = PART_MAX;
    type Phase = ReadingPhase;
    fn permit(&self) -> Permit<ReadingPhase> {
        use ReadingPhase::{Base, Rest};
        match self {
            Self::Base(_) => once("Base", &[Base]),
            Self::Auth(_) => once("Auth", &[Rest]),
            Self::LoginDelay(..) => any("LoginDelay", &[Rest]),
            Self::ClientAuthorities(_) => once("ClientAuthorities", &[Rest]).with_descriptors(1),
            Self::Certificate { .. } => any("Certificate", &[Rest]).with_descriptors(2),
            Self::End => once("End", &[Rest]),
        }
    }
}
