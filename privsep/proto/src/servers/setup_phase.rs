//! The phases of a process that gets settings first and serves then. Several pairs of processes have
//! them. A channel without settings serves from its beginning.

/// The phases of either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupPhase {
    /// The process has not taken its first settings.
    Starting,
    /// The process has taken settings.
    Serving,
}
