//! Where the spool's bytes come from. There is no other way in.

/// A spool that can be read at any offset. The worker's is the locked spool, read with `pread`.
pub trait Source {
    /// The error of reading.
    type Error;

    /// Fills `into` from byte `offset` on, and returns how many bytes were read. They are fewer
    /// than `into` has only at the end of the spool.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error>;
}
