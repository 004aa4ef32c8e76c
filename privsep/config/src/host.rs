//! The host that a configuration is for: who may own the files, and which users and groups exist.

use crate::names::Names;
use crate::owner::Owners;
use popward_proto::supervisor_config::WARNINGS_MAX;
use std::cell::RefCell;

/// The facts that the checks need besides the text of the file.
pub(crate) struct Host {
    /// The users who may own the files that decide about logins.
    pub(crate) owners: Owners,
    /// Looks up users and groups of the system.
    pub(crate) names: Names,
    /// Warnings about a configuration that can be used. Each has its offset in the file, in bytes.
    warnings: RefCell<Vec<(usize, String)>>,
}

impl Host {
    /// The host that this process runs on.
    pub(crate) fn this(names: Names) -> Self {
        Self {
            owners: Owners::of_the_configuration(),
            names,
            warnings: RefCell::default(),
        }
    }

    /// Keeps a warning about the text at the byte `offset` of the file. Drops the warning if there
    /// are [`WARNINGS_MAX`] already.
    pub(crate) fn warn(&self, offset: usize, text: String) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < WARNINGS_MAX {
            warnings.push((offset, text));
        }
    }

    /// Takes the warnings so far, in the order in which the checks gave them.
    pub(crate) fn warnings(&self) -> Vec<(usize, String)> {
        self.warnings.take()
    }
}
