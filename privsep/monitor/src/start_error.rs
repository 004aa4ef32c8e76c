//! Why a monitor does not start.

use nix::errno::Errno;
use popward_proto::VERSION;
use popward_sys::channel::ChannelError;
use popward_sys::confine::NotConfined;
use std::path::PathBuf;

/// Why a monitor cannot serve.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The supervisor has ended, or broke the rules.
    Supervisor(ChannelError),
    /// The supervisor is one of another version.
    Version(u32),
    /// A directory or device could not be opened or made.
    Open(PathBuf, Errno),
    /// The monitor could not give up what it must.
    Confine(NotConfined),
    /// A system call failed.
    System(&'static str, Errno),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Supervisor(error) => write!(out, "popward-monitor: {error}"),
            Self::Version(other) => write!(
                out,
                "popward-monitor speaks protocol version {VERSION}, but the running popward speaks version {other}: restart popward"
            ),
            Self::Open(path, errno) => write!(out, "{}: {errno}", path.display()),
            Self::Confine(error) => error.fmt(out),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
        }
    }
}
