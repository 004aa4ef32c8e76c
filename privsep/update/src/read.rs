//! The locked spool as the source of a scan.

use crate::locks::LockedSpool;
use popward_mbox::source::Source;

/// A locked spool as the source of a scan.
pub struct Reading<'a>(pub &'a mut LockedSpool);

impl Source for Reading<'_> {
    type Error = std::io::Error;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, std::io::Error> {
        self.0.read_at(offset, into)
    }
}
