//! A connection before its login: STLS, the messages to auth, and auth's answers.
//!
//! Each answer gives the [`Action`] that follows from it. The caller does it.

use super::state::{Conn, Shared, Step};
use crate::end_reason::EndReason;
use crate::pop3::{Action, End, Login, Waiting};
use crate::report;
use popward_proto::auth::{AuthRefusal, Credentials, FrontToAuth};
use popward_proto::bounded::Bytes;

impl Conn {
    /// Begins TLS when the reply to STLS has gone to the client.
    pub(super) fn secure(&mut self, shared: &Shared<'_>) -> Step {
        self.client.flush(shared.now);
        if self.client.gone {
            return Step::Over(EndReason::Reset);
        }
        if self.client.pending() {
            return Step::Stuck;
        }
        self.client.start_tls();
        Step::Handshake
    }

    /// Sends a message about a login to auth.
    pub(super) fn login(&mut self, login: Login, shared: &mut Shared<'_>) -> Action {
        let session = self.id;
        let message = match login {
            Login::Check(credentials) => self.check(credentials),
            Login::Certificate(user) => match self.client.certificate() {
                Some(shown) => {
                    let shown = shown.clone();
                    self.check(Credentials::Certificate {
                        user,
                        chain: shown.chain,
                        signed: shown.signed,
                        scheme: shown.scheme,
                        signature: shown.signature,
                    })
                }
                // Not reached: EXTERNAL is offered only to clients with a certificate.
                None => return self.refuse(AuthRefusal::Credentials, shared),
            },
            Login::Prove(proof) => FrontToAuth::Prove { session, proof },
            Login::Proceed => FrontToAuth::Proceed(session),
            Login::Cancel if self.cancel(shared) => return Action::None,
            Login::Cancel => return Action::Close(End::Temporary),
        };
        self.since = shared.now;
        // A login stays with the auth at which it began.
        let auth = match self.at_auth {
            Some(number) if !matches!(message, FrontToAuth::Check { .. }) => {
                shared.auths.numbered(number)
            }
            _ => shared.auths.current(),
        };
        let sent = auth.map(|auth| (auth.number, auth.channel.send(&message)));
        if let Some((number, Ok(()))) = sent {
            self.at_auth = Some(number);
            return Action::None;
        }
        // Auth is gone, or its socket is full.
        let forgotten = self.cancel(shared);
        let action = self.refuse(AuthRefusal::Temporary, shared);
        if !forgotten && action == Action::None {
            return Action::Close(End::Temporary);
        }
        action
    }

    fn check(&self, credentials: Credentials) -> FrontToAuth {
        FrontToAuth::Check {
            session: self.id,
            credentials,
            impossible: self.pop3.impossible(),
            client: popward_proto::auth::Client {
                peer: self.peer.seen_by_auth(),
                tls: self.client.is_secure() || self.peer.came_over_tls(),
            },
        }
    }

    fn waits_for_auth(&self) -> bool {
        self.pop3.waiting() == Waiting::Auth && self.ending.is_none()
    }

    /// Auth refused the login.
    pub(crate) fn refused(&mut self, why: AuthRefusal, shared: &mut Shared<'_>) -> Action {
        if !self.waits_for_auth() {
            return Action::None;
        }
        self.at_auth = None;
        self.refuse(why, shared)
    }

    fn refuse(&mut self, why: AuthRefusal, shared: &mut Shared<'_>) -> Action {
        if why == AuthRefusal::Credentials {
            report::failed(shared.log, &self.subject());
        }
        self.since = shared.now;
        self.pop3.auth_refused(why, &mut self.client.out)
    }

    /// Auth's challenge for the client.
    pub(crate) fn challenged(&mut self, first: &str) -> Action {
        if !self.waits_for_auth() {
            return Action::None;
        }
        self.pop3.auth_challenge(first, &mut self.client.out)
    }

    /// Auth's signature for the client.
    pub(crate) fn signed(&mut self, signature: &Bytes<32>) -> Action {
        if !self.waits_for_auth() {
            return Action::None;
        }
        self.pop3.auth_signature(signature, &mut self.client.out)
    }

    /// The auth with this number has died. If it worked on a login of this connection, the
    /// connection ends: auth's grant may still come, so another login must not begin under the same
    /// name. Returns whether the connection ends.
    pub(crate) fn auth_died(&mut self, number: u32, shared: &mut Shared<'_>) -> bool {
        let waits = self.at_auth == Some(number) && self.ending.is_none();
        if waits {
            self.at_auth = None;
            let action = if self.waits_for_auth() {
                self.refuse(AuthRefusal::Temporary, shared)
            } else {
                self.pop3.no_session(&mut self.client.out)
            };
            let end = match action {
                Action::Close(end) => end,
                _ => End::Temporary,
            };
            self.end(EndReason::Pop3(end));
        }
        waits
    }

    /// Auth granted the login, but sessions started no worker. `too_many`: the user has the most
    /// sessions that are permitted. Otherwise something failed.
    pub(crate) fn no_session(&mut self, too_many: bool) -> Action {
        if !self.waits_for_auth() {
            return Action::None;
        }
        self.at_auth = None;
        let out = &mut self.client.out;
        if too_many {
            self.pop3.too_many_sessions(out)
        } else {
            self.pop3.no_session(out)
        }
    }
}
