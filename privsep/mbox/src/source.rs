//! Where the spool's bytes come from. There is no other way in.

use crate::tally::{Tally, tally};
use std::convert::Infallible;

/// A spool that can be read at any offset. The worker's is the locked spool, read with `pread`.
pub trait Source {
    /// The error of reading.
    type Error;

    /// Fills `into` from byte `offset` on, and returns how many bytes were read. They are fewer
    /// than `into` has only at the end of the spool.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// [`tally`]. An implementation that knows the processor may run it with wider vectors.
    #[must_use]
    fn tally(previous: u8, bytes: &[u8], count: usize) -> Tally {
        tally(previous, bytes, count)
    }
}

/// A spool in memory, for tests, benches and fuzzing.
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
