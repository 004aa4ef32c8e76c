//! What POP3 wants its caller to do, and why a connection ends.

use crate::proxy::xclient::Forwarded;
use crate::sasl::Login;
use popward_proto::session::FrontToWorker;

/// The next thing that the caller has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send this to auth.
    Login(Login),
    /// Begin TLS when the written replies have gone to the client. Drop all bytes that the client
    /// sent after STLS, because they came without TLS. Then call
    /// [`Pop3::secured`](crate::pop3::Pop3::secured).
    StartTls,
    /// A trusted proxy has named its client. Check the limits for that client, then call
    /// [`Pop3::forwarded`](crate::pop3::Pop3::forwarded).
    Forwarded(Forwarded),
    /// Send this request to the worker.
    Ask(FrontToWorker),
    /// Close the connection when the written replies have gone to the client.
    Close(End),
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// QUIT in a session. The update is done or has failed.
    Quit,
    /// QUIT before a login.
    QuitBeforeLogin,
    /// Too many bad commands.
    BadCommands,
    /// Too many failed logins.
    FailedLogins,
    /// The worker ended before QUIT, or broke the rules.
    Broken,
    /// The worker could not open the maildrop, or the user has too many sessions.
    NotOpened,
    /// Sessions started no worker, or an answer broke the rules. A later login may succeed.
    Temporary,
}
