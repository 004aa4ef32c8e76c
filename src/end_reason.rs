//! Why a connection ended, as the log says it.

use crate::pop3::End;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// By the protocol.
    Pop3(End),
    /// The client ended it.
    Client,
    /// The client's connection failed.
    Reset,
    /// No login within the limit.
    LoginTime,
    /// Neither auth nor a worker within the limit.
    OpenTime,
    /// No command within the limit.
    IdleTime,
    /// A command's line not complete within the limit.
    LineTime,
    /// No octet taken within the limit.
    StallTime,
    /// Octets taken, but too slowly.
    SlowTime,
    /// It had to make room.
    Yielded,
    /// A proxy named a client that has too many.
    TooMany,
    /// No answer of the worker within the limit.
    WorkerTime,
    /// The session's limit.
    SessionTime,
    /// No TLS session was made.
    Handshake,
    /// The server is ending.
    Shutdown,
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Pop3(End::Quit) => "quit",
            Self::Pop3(End::QuitBeforeLogin) => "quit before login",
            Self::Pop3(End::BadCommands) => "too many bad commands",
            Self::Pop3(End::FailedLogins) => "too many failed logins",
            Self::Pop3(End::Broken) => "session broke",
            Self::Pop3(End::NotOpened) => "maildrop not opened",
            Self::Pop3(End::Temporary) => "temporary failure",
            Self::Client => "client ended",
            Self::Reset => "connection failed",
            Self::LoginTime => "no login in time",
            Self::OpenTime => "maildrop not opened in time",
            Self::IdleTime => "idle",
            Self::LineTime => "command not complete in time",
            Self::SlowTime => "client took too little",
            Self::Yielded => "ended to make room",
            Self::TooMany => "too many connections",
            Self::StallTime => "client took nothing",
            Self::WorkerTime => "worker did not answer",
            Self::SessionTime => "session too long",
            Self::Handshake => "TLS handshake failed",
            Self::Shutdown => "shutdown",
        })
    }
}
