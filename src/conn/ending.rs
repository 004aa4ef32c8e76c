//! The end of a connection: the last reply goes out, auth is told, the log has a line.

use super::state::{Conn, Ending, Input, Outcome, Shared, Step};
use crate::end_reason::EndReason;
use crate::pop3::End;
use crate::report;
use popward_proto::auth::FrontToAuth;
use std::time::Duration;
use zeroize::Zeroize;

/// How long the client may take to close its side after the front has closed its own.
const LINGER: Duration = Duration::from_secs(2);

impl Conn {
    /// Begins the end. The channel to the worker closes now. The client still gets what is in the
    /// buffer.
    pub(super) fn end(&mut self, why: EndReason) {
        self.worker = None;
        self.input = Input::default();
        if self.ending.is_none() {
            let lingers = None;
            self.ending = Some(Ending { why, lingers });
        }
    }

    /// Takes the next step of the end: sends the rest, closes the front's side, then waits for the
    /// client to close its own.
    pub(super) fn finish(&mut self, ending: Ending, shared: &mut Shared<'_>) -> Step {
        self.client.flush(shared.now);
        if self.client.gone {
            return Step::Over(ending.why);
        }
        if self.client.blocked() {
            return Step::Stuck;
        }
        if ending.lingers.is_none() {
            self.client.close_write(shared.now);
            let lingers = Some(shared.now + LINGER);
            self.ending = Some(Ending { lingers, ..ending });
        }
        // Unread bytes are read first. The kernel resets a connection that is closed with unread
        // bytes, and the reset can reach the client before the last reply.
        let ended = self.client.discard(shared.read);
        shared.read.zeroize();
        let quit = matches!(
            ending.why,
            EndReason::Pop3(End::Quit | End::QuitBeforeLogin)
        );
        if ended || quit || self.client.gone {
            return Step::Over(ending.why);
        }
        Step::Stuck
    }

    /// Ends the connection at once, even if bytes are still to be sent.
    pub(crate) fn over(&mut self, why: EndReason, shared: &Shared<'_>) -> Outcome {
        self.worker = None;
        self.cancel(shared);
        let seconds = shared
            .now
            .saturating_duration_since(self.accepted)
            .as_secs();
        report::end(shared.log, &self.subject(), why, seconds);
        Outcome::Over
    }

    /// Ends the connection because its TLS handshake failed.
    pub(crate) fn handshake_failed(&mut self, shared: &mut Shared<'_>) -> Outcome {
        self.over(EndReason::Handshake, shared)
    }

    /// Tells auth to forget this connection's login, if auth works on one. Returns whether auth now
    /// knows none. If auth cannot be told, its own time limit ends the login. Until then this
    /// connection must not begin another one.
    pub(super) fn cancel(&mut self, shared: &Shared<'_>) -> bool {
        let Some(number) = self.at_auth.take() else {
            return true;
        };
        let auth = shared.auths.numbered(number);
        let told = auth.map(|auth| auth.channel.send(&FrontToAuth::Cancel(self.id)));
        matches!(told, Some(Ok(())))
    }
}
