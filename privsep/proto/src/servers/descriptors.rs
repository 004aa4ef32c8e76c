//! Rows of permit tables for messages that bring descriptors. No worker gets any.

use crate::permit::Permit;

impl<P> Permit<P> {
    /// The same row for a kind with `count` descriptors.
    #[must_use]
    pub const fn with_descriptors(self, count: usize) -> Self {
        Self {
            descriptors: count,
            ..self
        }
    }
}
