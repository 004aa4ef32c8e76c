//! Why an update or a recovery stopped.

use crate::locks::Lost;
use std::io;

/// Why an update or a recovery did not happen.
#[derive(Debug)]
pub enum UpdateError {
    /// The spool is not what the plan or the journal was made for. Nothing was changed.
    Changed(&'static str),
    /// Another program took the dotlock from this session, or replaced the spool. Nothing was
    /// changed.
    LockLost,
    /// There is no state directory to keep a journal in. Nothing was changed.
    NoState,
    /// Reading or writing failed. Nothing was changed.
    System(io::Error),
    /// The update failed after its journal stood. The next opening must finish it.
    Unfinished(Box<UpdateError>),
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed(why) => out.write_str(why),
            Self::LockLost => Lost.fmt(out),
            Self::Unfinished(error) => write!(out, "{error}; the journal stands"),
            Self::NoState => out.write_str("no state directory for the journal"),
            Self::System(error) => error.fmt(out),
        }
    }
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> Self {
        if Lost::is(&error) {
            return Self::LockLost;
        }
        Self::System(error)
    }
}

impl From<Lost> for UpdateError {
    fn from(_: Lost) -> Self {
        Self::LockLost
    }
}
