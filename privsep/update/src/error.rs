//! Why a spool was not opened, and why an update stopped.

use crate::locks::Holder;
use nix::errno::Errno;
use popward_mbox::scan::ScanError;
use popward_proto::session::OpenFailure;
use popward_sys::confine::NotConfined;
use std::io;

/// Why there is no session.
#[derive(Debug)]
pub enum OpenError {
    /// The process could not confine itself.
    Confine(NotConfined),
    /// Another process holds this lock. A later try may succeed.
    Busy(&'static str, Holder),
    /// Another program has just put another file in the spool's place. A later try may succeed.
    Replaced,
    /// The spool must not be served, because it is not a regular file that belongs to the user and
    /// has one link.
    Unfit(&'static str),
    /// A system call failed.
    System(&'static str, Errno),
    /// The front or sessions has gone.
    Gone,
    /// An update that another process left could not be finished.
    Recovery(UpdateError),
    /// The spool was not read.
    Scan(ScanError<UpdateError>),
    /// What decides how messages are named was not read.
    Naming(io::Error),
}

impl OpenError {
    /// The reason that the front is told.
    pub fn answer(&self) -> OpenFailure {
        match self {
            Self::Busy(..) | Self::Replaced => OpenFailure::InUse,
            Self::Unfit(_)
            | Self::Recovery(UpdateError::Changed(_))
            | Self::Scan(
                ScanError::NotMbox | ScanError::BareReturns | ScanError::TooManyMessages,
            ) => OpenFailure::Permanent,
            // The file could be read, and its content is wrong.
            Self::Naming(error) if error.raw_os_error().is_none() => OpenFailure::Permanent,
            _ => OpenFailure::Temporary,
        }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Confine(error) => error.fmt(out),
            Self::Busy(lock, holder) => write!(out, "{lock} is held by {holder}"),
            Self::Replaced => out.write_str("another program replaces the spool again and again"),
            Self::Unfit(why) => out.write_str(why),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
            Self::Gone => out.write_str("the client has gone"),
            Self::Recovery(error) => {
                write!(out, "an unfinished update: {error}; its journal is kept")
            }
            Self::Scan(error) => error.fmt(out),
            Self::Naming(error) => error.fmt(out),
        }
    }
}

/// Why reading or writing a spool stopped, or why an update or a recovery did not happen.
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
            Self::LockLost => out.write_str("the dotlock was lost, or the spool replaced"),
            Self::Unfinished(error) => write!(out, "{error}; the journal stands"),
            Self::NoState => out.write_str("no state directory for the journal"),
            Self::System(error) => error.fmt(out),
        }
    }
}

impl From<io::Error> for UpdateError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<ScanError<UpdateError>> for UpdateError {
    fn from(error: ScanError<UpdateError>) -> Self {
        match error {
            ScanError::Source(error) => error,
            ScanError::Truncated(..) => Self::Changed("the spool is shorter than it was"),
            _ => Self::Changed("a message is not where it was"),
        }
    }
}
