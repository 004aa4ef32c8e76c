//! Why a spool was not read.

use crate::message::MESSAGES_MAX;

/// Why a spool was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum ScanError<E> {
    /// The spool does not begin with a From_ line.
    NotMbox,
    /// The spool's lines end with CR alone, so it cannot be told which of them begin messages.
    BareReturns,
    /// The spool ended before the given length.
    ///
    /// The offsets up to which bytes were expected, and where they ended.
    Truncated(u64, u64),
    /// The spool has more than [`MESSAGES_MAX`] messages.
    TooManyMessages,
    /// Reading failed.
    Source(E),
}

impl<E: std::fmt::Display> std::fmt::Display for ScanError<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotMbox => out.write_str("does not begin with a From_ line: no mbox"),
            Self::BareReturns => out.write_str("its lines end with CR alone: no mbox"),
            Self::Truncated(expected, found) => {
                write!(out, "ends at {found}, expected bytes up to {expected}")
            }
            Self::TooManyMessages => write!(out, "more than {MESSAGES_MAX} messages"),
            Self::Source(error) => error.fmt(out),
        }
    }
}
