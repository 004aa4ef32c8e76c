//! The host that a configuration is for: whose its files may be, and which users and groups it has.

use crate::names::Names;
use crate::owner::Owners;
use popward_proto::monitor_config::WARNINGS_MAX;
use std::cell::RefCell;

/// What the checks ask beyond the text of the file.
pub(crate) struct Host {
    /// Who may be able to change what decides about logins.
    pub(crate) owners: Owners,
    /// The users and groups.
    pub(crate) names: Names,
    /// What the operator should see of a configuration that can be used, each with its place in the file.
    warnings: RefCell<Vec<(usize, String)>>,
}

impl Host {
    /// This host, as this process sees it.
    pub(crate) fn this(names: Names) -> Self {
        Self {
            owners: Owners::of_the_configuration(),
            names,
            warnings: RefCell::default(),
        }
    }

    /// Keeps a warning about what stands at this byte of the file. Beyond the most that there can be, it is left out.
    pub(crate) fn warn(&self, offset: usize, text: String) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < WARNINGS_MAX {
            warnings.push((offset, text));
        }
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> Vec<(usize, String)> {
        self.warnings.take()
    }
}
