//! The host that a configuration is for: whose its files may be, and which users and groups it has.

use crate::names::Names;
use crate::owner::Owners;

/// What the checks ask beyond the text of the file.
pub(crate) struct Host {
    /// Who may be able to change what decides about logins.
    pub(crate) owners: Owners,
    /// The users and groups.
    pub(crate) names: Names,
}

impl Host {
    /// This host, as this process sees it.
    pub(crate) fn this(names: Names) -> Self {
        Self {
            owners: Owners::of_the_configuration(),
            names,
        }
    }
}
