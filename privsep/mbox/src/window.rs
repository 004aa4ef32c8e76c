//! A view of the spool through the caller's buffer.
//!
//! The view moves forward. It keeps bytes that were read and are still wanted, so that the spool is
//! read once.

use crate::error::ScanError;
use crate::from_line::{LOOK, Start};
use crate::source::Source;

/// The part of the spool that lies in the buffer.
pub struct Window<'a, S> {
    source: &'a mut S,
    buffer: &'a mut [u8],
    /// The offset of the buffer's first byte in the spool.
    base: u64,
    /// How many bytes of the buffer are valid.
    filled: usize,
    /// The spool's length in bytes. Nothing behind it is read, even if the spool has grown.
    length: u64,
}

impl<'a, S: Source> Window<'a, S> {
    /// A view of the first `length` bytes of `source`, through `buffer`.
    pub fn new(source: &'a mut S, length: u64, buffer: &'a mut [u8]) -> Self {
        Self {
            source,
            buffer,
            base: 0,
            filled: 0,
            length,
        }
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
        let start = usize::try_from(offset - self.base)
            .unwrap_or(self.filled)
            .min(self.filled);
        Ok(&self.buffer[start..self.filled])
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

    /// What the line at `offset` is.
    pub(crate) fn line_at(&mut self, offset: u64) -> Result<Start, ScanError<S::Error>> {
        let length = self.length;
        let view = self.at(offset, LOOK)?;
        Ok(Start::of(view, offset + view.len() as u64 == length))
    }

    /// Does the same for the first line of the spool, behind its empty lines.
    pub(crate) fn first_line_at(&mut self, offset: u64) -> Result<Start, ScanError<S::Error>> {
        let length = self.length;
        let view = self.at(offset, LOOK)?;
        Ok(Start::of_first(view, offset + view.len() as u64 == length))
    }

    fn holds(&self, offset: u64, need: usize) -> bool {
        let wanted_end = offset.saturating_add(need as u64).min(self.length);
        offset >= self.base && wanted_end <= self.base + self.filled as u64
    }

    /// Makes `offset` the buffer's first byte and fills the buffer.
    fn slide_to(&mut self, offset: u64) -> Result<(), ScanError<S::Error>> {
        let skipped = offset
            .checked_sub(self.base)
            .and_then(|skipped| usize::try_from(skipped).ok());
        let kept = match skipped {
            Some(skipped) if skipped < self.filled => {
                self.buffer.copy_within(skipped..self.filled, 0);
                self.filled - skipped
            }
            _ => 0,
        };
        self.base = offset;
        // If the read fails, only the bytes that were kept count.
        self.filled = kept;
        let left = self.length.saturating_sub(offset + kept as u64);
        let end = kept + fitting(left, self.buffer.len() - kept);
        read_exactly(
            self.source,
            offset + kept as u64,
            &mut self.buffer[kept..end],
        )?;
        self.filled = end;
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
    if into.is_empty() {
        return Ok(());
    }
    let count = source.read_at(offset, into).map_err(ScanError::Source)?;
    if count < into.len() {
        let expected = offset + into.len() as u64;
        return Err(ScanError::Truncated {
            expected,
            found: offset + count as u64,
        });
    }
    Ok(())
}
