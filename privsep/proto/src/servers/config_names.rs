//! popward-config ↔ the process that looks up names for it: users and groups of the system, by NSS.

use crate::bounded::{Text, UserName};
use crate::permit::{Message, Permit, any};
use serde::{Deserialize, Serialize};

/// Longest name that is asked for, in bytes.
pub const NAME_MAX: usize = 256;

/// A name as the configuration has it.
pub type Name = Text<NAME_MAX>;

/// What popward-config asks. Each question is answered before the next one is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigToNames {
    /// The ids of the user of this name.
    User(Name),
    /// The id of the group of this name.
    Group(Name),
    /// The members of the group of this id.
    Members(u32),
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamesToConfig {
    /// To `User`: user and group id. `None`: there is no such user.
    User(Option<(u32, u32)>),
    /// To `Group`: its id. `None`: there is no such group.
    Group(Option<u32>),
    /// To `Members`: one message for each member whose name can be an account's, and `None` at the
    /// end.
    Member(Option<UserName>),
    /// It could not be looked up, and why.
    Failed(Name),
}

/// The phase of either end: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamesPhase {
    /// Questions come, or answers.
    Asking,
}

impl Message for ConfigToNames {
    const LIMIT: usize = 264;
    type Phase = NamesPhase;
    fn permit(&self) -> Permit<NamesPhase> {
        match self {
            Self::User(_) => any("User", &[NamesPhase::Asking]),
            Self::Group(_) => any("Group", &[NamesPhase::Asking]),
            Self::Members(_) => any("Members", &[NamesPhase::Asking]),
        }
    }
}

impl Message for NamesToConfig {
    const LIMIT: usize = 264;
    type Phase = NamesPhase;
    fn permit(&self) -> Permit<NamesPhase> {
        match self {
            Self::User(_) => any("User", &[NamesPhase::Asking]),
            Self::Group(_) => any("Group", &[NamesPhase::Asking]),
            Self::Member(_) => any("Member", &[NamesPhase::Asking]),
            Self::Failed(_) => any("Failed", &[NamesPhase::Asking]),
        }
    }
}
