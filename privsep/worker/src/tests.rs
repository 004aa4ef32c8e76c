//! What the tests of this crate's modules work on.

use crate::naming::Naming;
pub(crate) use popward_update::testing::{Desk, message};

/// The naming of a desk's messages.
pub(crate) trait Names {
    /// Native names, and those that are pinned.
    fn naming(&self) -> Naming;
}

impl Names for Desk {
    fn naming(&self) -> Naming {
        Naming::new(&self.job(false), Some(&self.state())).unwrap()
    }
}
