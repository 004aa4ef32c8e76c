//! A spool in memory, and its scan, for tests, benches and fuzzing.

use crate::error::ScanError;
use crate::header::Hidden;
use crate::message::Maildrop;
use crate::scan::scan_on;
use crate::source::Source;
use std::convert::Infallible;

/// A spool in memory.
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

/// Scans a spool of which nothing is known, and hides nothing.
pub fn scan<S: Source>(
    source: &mut S,
    length: u64,
    buffer: &mut [u8],
) -> Result<Maildrop, ScanError<S::Error>> {
    let mut maildrop = Maildrop::default();
    scan_on(source, length, buffer, Hidden::default(), &mut maildrop)?;
    Ok(maildrop)
}
