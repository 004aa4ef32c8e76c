//! What the tests of this crate's modules share.

use crate::naming::Naming;
pub(crate) use popward_update::testing::{Desk, message};

/// How a desk's messages are named.
pub(crate) trait Names {
    /// Native UIDLs and the desk's pins.
    fn naming(&self) -> Naming;
}

impl Names for Desk {
    fn naming(&self) -> Naming {
        Naming::new(&self.job(false), Some(&self.state())).unwrap()
    }
}
