//! How a worker reads its spool: through the locks, and with the processor's widest vectors.

use crate::locks::LockedSpool;
use popward_mbox::source::Source;
use popward_mbox::tally::{Tally, tally};
use popward_sys::vector::{Computation, with_widest_vectors};

/// A locked spool as the source of a scan.
pub struct Reading<'a>(pub &'a mut LockedSpool);

impl Source for Reading<'_> {
    type Error = std::io::Error;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, std::io::Error> {
        self.0.read_at(offset, into)
    }

    fn tally(previous: u8, bytes: &[u8], count: usize) -> Tally {
        with_widest_vectors(Look {
            previous,
            bytes,
            count,
        })
    }
}

struct Look<'a> {
    previous: u8,
    bytes: &'a [u8],
    count: usize,
}

impl Computation for Look<'_> {
    type Outcome = Tally;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "`with_widest_vectors` needs it")]
    fn run(self) -> Tally {
        tally(self.previous, self.bytes, self.count)
    }
}
