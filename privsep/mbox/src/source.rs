//! Where the spool's bytes come from: the only way in.

use crate::tally::{Tally, tally};
use std::convert::Infallible;

/// A spool that can be read at any offset. The worker's is `pread` on the locked spool.
pub trait Source {
    /// What can go wrong while reading.
    type Error;

    /// Fills `into` from byte `offset` on and says how many bytes that were; fewer than asked for only at
    /// the end of the spool.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// [`tally`], which whoever knows the processor may have run with wider vectors.
    #[must_use]
    fn tally(previous: u8, bytes: &[u8], count: usize) -> Tally {
        tally(previous, bytes, count)
    }
}

/// A spool that lies in memory, for tests, benches and fuzzing.
#[derive(Debug, Clone, Copy)]
pub struct InMemory<'a>(pub &'a [u8]);

impl Source for InMemory<'_> {
    type Error = Infallible;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Infallible> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let available = &self.0[start..];
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        Ok(count)
    }
}
