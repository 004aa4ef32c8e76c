//! Turns what sessions and the worker say into replies to the client.

use super::action::{Action, End};
use super::connection::{Pop3, ok};
use super::language::Phrase;
use super::state::{Activity, BeforeLogin, Session, State, Waiting};
use crate::sasl::ExpectedOfAuth;
use popward_proto::bounded::UserName;
use popward_proto::permit::Message;
use popward_proto::session::{OpenFailure, Refusal, Totals, Update, WorkerToFront};

impl Pop3 {
    /// Sessions started no worker, or none came in time. Also used when auth or the worker broke
    /// the rules of a login. Answers `-ERR` and ends the connection.
    pub fn no_session(&mut self, out: &mut Vec<u8>) -> Action {
        match self.state {
            State::BeforeLogin(
                BeforeLogin::Authorization(_)
                | BeforeLogin::Sasl(_)
                | BeforeLogin::Checking(_)
                | BeforeLogin::Opening(_),
            ) => {
                self.error(Phrase::NotOpenedNow, out);
                self.close(End::Temporary)
            }
            _ => self.worker_gone(out),
        }
    }

    /// The user has the most sessions that are permitted, so no worker is started. Answers `-ERR`
    /// and ends the connection.
    pub fn too_many_sessions(&mut self, out: &mut Vec<u8>) -> Action {
        self.error(Phrase::InUse, out);
        self.close(End::NotOpened)
    }

    /// Whether the worker may send this message now. The permit table of the worker's channel
    /// decides.
    fn awaits(&self, message: &WorkerToFront) -> bool {
        let phase = self.waiting().phase();
        phase.is_some_and(|phase| message.permit().phases.contains(&phase)) && self.expects(message)
    }

    /// Auth granted a login of `user`, and the worker opens the maildrop. `login_delay_s` is the
    /// least time between two logins of this account, in seconds.
    pub fn granted(&mut self, user: UserName, login_delay_s: u32) {
        let State::BeforeLogin(state) = &mut self.state else {
            return;
        };
        match std::mem::replace(state, BeforeLogin::Closing) {
            BeforeLogin::Checking(check) => {
                *state = BeforeLogin::Opening(check);
                self.user = Some(user);
                self.login_delay_s = Some(login_delay_s);
            }
            other => *state = other,
        }
    }

    /// Takes a message of the worker and answers the client. A message that the client's request
    /// does not call for ends the session. After `Listing`, `Body` and `Ahead` the caller passes on
    /// data packets and calls [`Pop3::data`].
    pub fn worker(&mut self, message: &WorkerToFront, out: &mut Vec<u8>) -> Action {
        if !self.awaits(message) {
            return self.worker_gone(out);
        }
        match message {
            WorkerToFront::Opened(totals) => return self.opened_now(*totals, out),
            WorkerToFront::NotOpened(why) => {
                let phrase = match why {
                    OpenFailure::InUse => Phrase::InUse,
                    OpenFailure::Temporary => Phrase::CannotBeOpenedNow,
                    OpenFailure::Permanent => Phrase::CannotBeOpened,
                };
                self.error(phrase, out);
                return self.close(End::NotOpened);
            }
            WorkerToFront::Broken(_) => return self.worker_gone(out),
            WorkerToFront::Totals(t) => ok(out, format_args!("{} {}", t.messages, t.octets)),
            WorkerToFront::Listing(t) => self.ok(Phrase::Messages, &[t.messages.into()], out),
            WorkerToFront::Body(octets) | WorkerToFront::Ahead(_, octets) => {
                self.ok(Phrase::Octets, &[*octets], out);
            }
            WorkerToFront::Size(number, octets) => ok(out, format_args!("{number} {octets}")),
            WorkerToFront::Unique(number, id) => ok(out, format_args!("{number} {id}")),
            WorkerToFront::Deleted(number, _) => {
                self.ok(Phrase::Deleted, &[number.0.get().into()], out);
            }
            WorkerToFront::Refused(why) => {
                let phrase = match why {
                    Refusal::NoSuchMessage => Phrase::NoSuchMessage,
                    Refusal::AlreadyDeleted => Phrase::IsDeleted,
                };
                self.error(phrase, out);
            }
            // No answer yet: the client is answered when the locks are free. Otherwise its next
            // login could find the maildrop locked.
            WorkerToFront::Committed(_) | WorkerToFront::NotCommitted(_) => {}
        }
        if let State::Session(session) = &mut self.state {
            session.answered(message);
        }
        Action::None
    }

    fn opened_now(&mut self, totals: Totals, out: &mut Vec<u8>) -> Action {
        // An impossible login stays refused even if auth granted the stand-in that it was asked
        // about.
        let granted = match &self.state {
            State::BeforeLogin(BeforeLogin::Opening(check)) => {
                let by_grant = matches!(
                    check.expected,
                    ExpectedOfAuth::Grant | ExpectedOfAuth::TokenGrant(_)
                );
                by_grant && check.impossible.is_none()
            }
            _ => false,
        };
        if !granted {
            return self.no_session(out);
        }
        self.state = State::Session(Session::new(totals));
        let numbers = [totals.messages.into(), totals.octets];
        self.ok(Phrase::Opened, &numbers, out);
        Action::None
    }

    /// The caller has written a data packet to the client. `last`: it ends the reply, so the final
    /// `.` line follows.
    pub fn data(&mut self, last: bool, out: &mut Vec<u8>) {
        let State::Session(session) = &mut self.state else {
            return;
        };
        if let (true, Activity::Streaming { retrieved }) = (last, &session.activity) {
            if let Some(octets) = *retrieved {
                count(&mut session.retrieved, octets);
            }
            out.extend_from_slice(b".\r\n");
            session.activity = Activity::Idle;
        }
    }

    /// The worker has ended and its locks are free. `finished`: the worker left its update
    /// unfinished, and another worker finished it.
    pub fn worker_ended(&mut self, finished: bool, out: &mut Vec<u8>) -> Action {
        if self.waiting() == Waiting::Nothing {
            return Action::None;
        }
        let updating = self.waiting().is_update();
        let session = match &mut self.state {
            State::Session(session) if updating => session,
            _ => return self.worker_gone(out),
        };
        if finished {
            session.take_for_updated();
        }
        if session.update.is_some() {
            self.sign_off(out);
        } else {
            self.error(Phrase::NotRemoved, out);
        }
        self.close(End::Quit)
    }

    /// The worker's socket is closed, or the worker broke the rules.
    pub fn worker_gone(&mut self, out: &mut Vec<u8>) -> Action {
        let waiting = self.waiting();
        if waiting.is_update() {
            // The locks are not free yet: `worker_ended` answers.
            if let State::Session(session) = &mut self.state {
                session.activity = Activity::Ending;
            }
            return Action::None;
        }
        match waiting {
            Waiting::Nothing => return Action::None,
            // No error reply here. Within a message the client would read it as part of the
            // message. Between STLS and TLS no reply is permitted.
            Waiting::Data | Waiting::Securing => {}
            _ => self.error(Phrase::BrokenOff, out),
        }
        self.close(End::Broken)
    }
}

impl Session {
    /// Records the worker's answer.
    fn answered(&mut self, message: &WorkerToFront) {
        self.activity = match message {
            WorkerToFront::Listing(_) => Activity::Streaming { retrieved: None },
            WorkerToFront::Body(octets) | WorkerToFront::Ahead(_, octets) => {
                let is_retr = match &self.activity {
                    Activity::Asked(request) => request.retrieves().is_some(),
                    _ => false,
                };
                let retrieved = is_retr.then_some(*octets);
                Activity::Streaming { retrieved }
            }
            WorkerToFront::Deleted(_, octets) => {
                count(&mut self.marked, *octets);
                Activity::Idle
            }
            WorkerToFront::Committed(update) => {
                self.update = Some(*update);
                Activity::Ending
            }
            WorkerToFront::NotCommitted(_) => Activity::Ending,
            _ => Activity::Idle,
        };
    }

    /// Another worker finished the update, but does not know its size. The update removed all
    /// messages that are marked as deleted, and nothing else.
    fn take_for_updated(&mut self) {
        let (marked, opened) = (self.marked, self.opened);
        self.update.get_or_insert(Update {
            deleted: marked,
            left: Totals {
                messages: opened.messages.saturating_sub(marked.messages),
                octets: opened.octets.saturating_sub(marked.octets),
            },
        });
    }
}

/// Adds one message of `octets` octets.
fn count(totals: &mut Totals, octets: u64) {
    totals.messages = totals.messages.saturating_add(1);
    totals.octets = totals.octets.saturating_add(octets);
}
