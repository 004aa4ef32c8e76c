//! Why a connection ended, as the log says it.

use crate::pop3::End;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// POP3's rules ended it.
    Pop3(End),
    /// The client closed the connection.
    Client,
    /// The connection failed.
    Reset,
    /// There was no login within the limit.
    LoginTime,
    /// Neither auth nor a worker answered within the limit.
    OpenTime,
    /// There was no command within the limit.
    IdleTime,
    /// A line was not complete within the limit.
    LineTime,
    /// The client took no octet within the limit.
    StallTime,
    /// The client took octets, but too slowly.
    SlowTime,
    /// It made room for another connection.
    Yielded,
    /// It was silent, and its user logged in again.
    Newcomer,
    /// A proxy named a client that has too many connections.
    TooMany,
    /// The worker did not answer within the limit.
    WorkerTime,
    /// The session lasted longer than the limit.
    SessionTime,
    /// The TLS handshake failed.
    Handshake,
    /// The server ends.
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
            Self::Newcomer => "silent, and the user logged in again",
            Self::TooMany => "too many connections",
            Self::StallTime => "client took nothing",
            Self::WorkerTime => "worker did not answer",
            Self::SessionTime => "session too long",
            Self::Handshake => "TLS handshake failed",
            Self::Shutdown => "shutdown",
        })
    }
}
