//! A connection before its login: what it is offered, STLS, and what goes to auth and comes from there.

use super::{Conn, Step, Turn};
use crate::client::Client;
use crate::end_reason::EndReason;
use crate::pop3::{End, Login, Offer, Security, Waiting};
use crate::proxy::Peer;
use crate::report;
use popward_proto::auth::{AuthRefusal, Credentials, FrontToAuth};
use popward_proto::bounded::Bytes;
use popward_proto::monitor_front::FrontSettings;

/// What a connection may use as it is now.
pub(super) fn offer(client: &Client, peer: &Peer, stls: bool, settings: &FrontSettings) -> Offer {
    let tls = client.is_secure() || peer.came_over_tls();
    Offer {
        security: match (tls, stls) {
            (true, _) => Security::Tls,
            (false, true) => Security::Stls,
            (false, false) => Security::Never,
        },
        passwords: tls || peer.may_send_plainly(settings),
        mechanisms: settings.mechanisms.as_slice().iter().copied().collect(),
        certificate: client.certificate().is_some(),
        binding: client.exporter(),
    }
}

impl Conn {
    /// Whether commands that are here are still to be taken: not once it ends, and not what came in the clear behind STLS,
    /// which anybody on the way could have put there (RFC 2595, section 4).
    pub(super) fn keeps_input(&self) -> bool {
        self.ending.is_none() && self.pop3.waiting() != Waiting::Securing
    }

    /// Begins TLS, once the reply to STLS has gone.
    pub(super) fn secure(&mut self, turn: &Turn<'_>) -> Step {
        self.client.flush(turn.now);
        if self.client.gone {
            return Step::Over(EndReason::Reset);
        }
        if self.client.pending() {
            return Step::Stuck;
        }
        self.client.start_tls();
        Step::Handshake
    }

    /// Tells auth.
    pub(super) fn login(&mut self, login: Login, turn: &mut Turn<'_>) {
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
                // EXTERNAL was not offered without one.
                None => return self.refuse(AuthRefusal::Credentials, turn),
            },
            Login::Prove(proof) => FrontToAuth::Prove { session, proof },
            Login::Proceed => FrontToAuth::Proceed(session),
            Login::Cancel => {
                if !self.cancel(turn) {
                    self.end(EndReason::Pop3(End::Temporary));
                }
                return;
            }
        };
        self.since = turn.now;
        // A login goes on at the auth where it has begun.
        let auth = match self.at_auth {
            Some(number) if !matches!(message, FrontToAuth::Check { .. }) => {
                turn.auths.numbered(number)
            }
            _ => turn.auths.current(),
        };
        let sent = auth.map(|auth| (auth.number, auth.channel.send(&message)));
        if let Some((number, Ok(()))) = sent {
            self.at_auth = Some(number);
            return;
        }
        // Auth is gone, or so busy that its socket is full.
        let forgotten = self.cancel(turn);
        self.refuse(AuthRefusal::Temporary, turn);
        if !forgotten {
            self.end(EndReason::Pop3(End::Temporary));
        }
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

    /// Tells auth that nobody waits any more, if it keeps a login of this session. Returns whether it keeps none now: where it
    /// cannot be told, its own time limit ends the login, and this session must not begin another one.
    pub(super) fn cancel(&mut self, turn: &Turn<'_>) -> bool {
        let Some(number) = self.at_auth.take() else {
            return true;
        };
        let auth = turn.auths.numbered(number);
        let told = auth.map(|auth| auth.channel.send(&FrontToAuth::Cancel(self.id)));
        matches!(told, Some(Ok(())))
    }

    fn waits_for_auth(&self) -> bool {
        self.pop3.waiting() == Waiting::Auth && self.ending.is_none()
    }

    /// Auth refused.
    pub(crate) fn refused(&mut self, why: AuthRefusal, turn: &mut Turn<'_>) {
        if self.waits_for_auth() {
            self.at_auth = None;
            self.refuse(why, turn);
        }
    }

    fn refuse(&mut self, why: AuthRefusal, turn: &mut Turn<'_>) {
        if why == AuthRefusal::Credentials {
            report::failed(turn.log, &self.subject());
        }
        self.since = turn.now;
        let action = self.pop3.auth_refused(why, &mut self.client.out);
        self.act(action, turn);
    }

    /// Auth's challenge for the client.
    pub(crate) fn challenged(&mut self, first: &str, turn: &mut Turn<'_>) {
        if self.waits_for_auth() {
            let action = self.pop3.auth_challenge(first, &mut self.client.out);
            self.act(action, turn);
        }
    }

    /// Auth's signature for the client.
    pub(crate) fn signed(&mut self, signature: &Bytes<32>, turn: &mut Turn<'_>) {
        if self.waits_for_auth() {
            let action = self.pop3.auth_signature(signature, &mut self.client.out);
            self.act(action, turn);
        }
    }

    /// The auth of this number died. Its grant may still be under way, so this ticket is not used again.
    /// Returns whether it waited for that auth.
    pub(crate) fn auth_died(&mut self, number: u32, turn: &mut Turn<'_>) -> bool {
        let waits = self.at_auth == Some(number) && self.ending.is_none();
        if waits {
            self.at_auth = None;
            if self.waits_for_auth() {
                self.refuse(AuthRefusal::Temporary, turn);
            } else {
                self.pop3.no_session(&mut self.client.out);
            }
            self.end(EndReason::Pop3(End::Temporary));
        }
        waits
    }

    /// Auth granted, and the monitor made no worker: because the user has `too_many`, or something is amiss.
    pub(crate) fn no_session(&mut self, too_many: bool, turn: &mut Turn<'_>) {
        if self.waits_for_auth() {
            self.at_auth = None;
            let out = &mut self.client.out;
            let action = if too_many {
                self.pop3.too_many_sessions(out)
            } else {
                self.pop3.no_session(out)
            };
            self.act(action, turn);
        }
    }
}
