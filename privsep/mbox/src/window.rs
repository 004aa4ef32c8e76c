//! A view of the spool through the caller's buffer.
//!
//! The view moves forward. It keeps bytes that were read and are still wanted, so that the spool is
//! read once.

use crate::error::ScanError;
use crate::from_line::{LOOK, Start};
use crate::source::Source;
use std::ops::Range;

/// The part of the spool that lies in the buffer.
pub struct Window<'a, S> {
    source: &'a mut S,
    buffer: &'a mut [u8],
    /// Where the bytes in the buffer lie in the spool. Bytes of the buffer behind them are not valid.
    held: Range<u64>,
    /// The spool's length in bytes. Nothing behind it is read, even if the spool has grown.
    length: u64,
}

impl<'a, S: Source> Window<'a, S> {
    /// A view of the first `length` bytes of `source`, through `buffer`.
    pub fn new(source: &'a mut S, length: u64, buffer: &'a mut [u8]) -> Self {
        Self::resumed(source, length, buffer, 0..0)
    }

    /// The same, with a buffer that holds bytes already: those that an earlier view of the spool
    /// [held](Self::held) in it.
    pub fn resumed(source: &'a mut S, length: u64, buffer: &'a mut [u8], held: Range<u64>) -> Self {
        Self {
            source,
            buffer,
            held,
            length,
        }
    }

    /// Where the bytes in the buffer lie in the spool.
    pub fn held(&self) -> Range<u64> {
        self.held.clone()
    }

    /// The spool's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `offset` on: at least `need` bytes, or all bytes up to the end of the spool.
    /// There may be more. `need` must fit into the buffer.
    pub fn at(&mut self, offset: u64, need: usize) -> Result<&[u8], ScanError<S::Error>> {
        if !self.holds(offset, need) {
            self.slide_to(offset)?;
        }
        let filled = fitting(self.held.end - self.held.start, self.buffer.len());
        let start = fitting(offset - self.held.start, filled);
        Ok(&self.buffer[start..filled])
    }

    /// Does the same as `at`, but reads into `into` if the window does not have the bytes. So a
    /// look far ahead keeps the bytes that are still to be read here.
    pub fn peek<'b>(
        &'b mut self,
        offset: u64,
        into: &'b mut [u8],
    ) -> Result<&'b [u8], ScanError<S::Error>> {
        if self.holds(offset, into.len()) {
            return self.at(offset, into.len());
        }
        let count = fitting(self.length.saturating_sub(offset), into.len());
        read_exactly(self.source, offset, &mut into[..count])?;
        Ok(&into[..count])
    }

    /// What the line at `offset` is. `first`: it is the first line of the spool, behind its empty
    /// lines.
    pub(crate) fn line_at(
        &mut self,
        offset: u64,
        first: bool,
    ) -> Result<Start, ScanError<S::Error>> {
        let length = self.length;
        let view = self.at(offset, LOOK)?;
        let to_end = offset + view.len() as u64 == length;
        Ok(Start::of(view, to_end, first))
    }

    fn holds(&self, offset: u64, need: usize) -> bool {
        let wanted_end = offset.saturating_add(need as u64).min(self.length);
        offset >= self.held.start && wanted_end <= self.held.end
    }

    /// Makes `offset` the buffer's first byte and fills the buffer.
    fn slide_to(&mut self, offset: u64) -> Result<(), ScanError<S::Error>> {
        let kept = if self.held.contains(&offset) {
            let skipped = fitting(offset - self.held.start, self.buffer.len());
            let filled = fitting(self.held.end - self.held.start, self.buffer.len());
            self.buffer.copy_within(skipped..filled, 0);
            filled - skipped
        } else {
            0
        };
        let next = offset + kept as u64;
        // If the read fails, only the bytes that were kept count.
        self.held = offset..next;
        let left = self.length.saturating_sub(next);
        let end = kept + fitting(left, self.buffer.len() - kept);
        read_exactly(self.source, next, &mut self.buffer[kept..end])?;
        self.held.end = offset + end as u64;
        Ok(())
    }
}

/// The smaller of the two, as a size in memory.
fn fitting(bytes: u64, room: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(room)
}

/// Fills `into`. If the spool is too short, the error says where it ended.
fn read_exactly<S: Source>(
    source: &mut S,
    offset: u64,
    into: &mut [u8],
) -> Result<(), ScanError<S::Error>> {
    let count = source.read_at(offset, into).map_err(ScanError::Source)?;
    if count < into.len() {
        let (expected, found) = (offset + into.len() as u64, offset + count as u64);
        return Err(ScanError::Truncated(expected, found));
    }
    Ok(())
}
