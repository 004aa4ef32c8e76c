//! What the monitor and the worker say, and what the client hears of it.

use super::language::Phrase;
use super::state::{BeforeLogin, Session, State, Step};
use super::{Action, End, Pop3, Waiting, ok};
use crate::sasl::Then;
use popward_proto::bounded::UserName;
use popward_proto::permit::Message;
use popward_proto::session::{OpenFailure, Refusal, Totals, Update, WorkerToFront};

impl Pop3 {
    /// The monitor makes no worker, or none came in time.
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

    /// The user has as many sessions as there may be: no worker is made.
    pub fn too_many_sessions(&mut self, out: &mut Vec<u8>) -> Action {
        self.error(Phrase::InUse, out);
        self.close(End::NotOpened)
    }

    /// Whether the worker may send this now, by the table by which its channel admits messages.
    fn awaits(&self, message: &WorkerToFront) -> bool {
        let phase = self.waiting().phase();
        phase.is_some_and(|phase| message.permit().phases.contains(&phase)) && self.expects(message)
    }

    /// Auth granted a login of `user`, and the worker opens the maildrop. Logins of this account are `login_delay_s` apart.
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

    /// The worker said something. What nobody asked for ends the session. With `Listing`, `Body` and `Ahead` data come.
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
            // The client is answered when the locks are free.
            WorkerToFront::Committed(_) | WorkerToFront::NotCommitted(_) => {}
        }
        if let State::Session(session) = &mut self.state {
            session.answered(message);
        }
        Action::None
    }

    fn opened_now(&mut self, totals: Totals, out: &mut Vec<u8>) -> Action {
        // A login that must not be is none, whatever was granted.
        let granted = matches!(&self.state, State::BeforeLogin(BeforeLogin::Opening(check))
            if check.impossible.is_none()
                && matches!(check.then, Then::Grant | Then::TokenGrant(_)));
        if !granted {
            return self.no_session(out);
        }
        self.state = State::Session(Session::new(totals));
        let numbers = [totals.messages.into(), totals.octets];
        self.ok(Phrase::Opened, &numbers, out);
        Action::None
    }

    /// A data packet has been written to the client. The last one ends the reply.
    pub fn data(&mut self, last: bool, out: &mut Vec<u8>) {
        let State::Session(session) = &mut self.state else {
            return;
        };
        if let (true, Step::Streaming { retrieved }) = (last, &session.step) {
            if let Some(octets) = *retrieved {
                count(&mut session.retrieved, octets);
            }
            out.extend_from_slice(b".\r\n");
            session.step = Step::Idle;
        }
    }

    /// The worker has ended, and its locks are free. `finished`: it did not finish its update, and another worker did.
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

    /// The socket to the worker is closed, or the worker broke the rules.
    pub fn worker_gone(&mut self, out: &mut Vec<u8>) -> Action {
        let waiting = self.waiting();
        if waiting.is_update() {
            // The locks are not free yet: `worker_ended` answers.
            if let State::Session(session) = &mut self.state {
                session.step = Step::Ending;
            }
            return Action::None;
        }
        match waiting {
            Waiting::Nothing => return Action::None,
            // Within a reply nothing can be said, nor between STLS and TLS.
            Waiting::Data | Waiting::Securing => {}
            _ => self.error(Phrase::BrokenOff, out),
        }
        self.close(End::Broken)
    }
}

impl Session {
    /// The worker has answered.
    fn answered(&mut self, message: &WorkerToFront) {
        self.step = match message {
            WorkerToFront::Listing(_) => Step::Streaming { retrieved: None },
            WorkerToFront::Body(octets) | WorkerToFront::Ahead(_, octets) => {
                let is_retr =
                    matches!(&self.step, Step::Asked(request) if request.retrieves().is_some());
                let retrieved = is_retr.then_some(*octets);
                Step::Streaming { retrieved }
            }
            WorkerToFront::Deleted(_, octets) => {
                count(&mut self.marked, *octets);
                Step::Idle
            }
            WorkerToFront::Committed(update) => {
                self.update = Some(*update);
                Step::Ending
            }
            WorkerToFront::NotCommitted(_) => Step::Ending,
            _ => Step::Idle,
        };
    }

    /// Another worker finished the update, and does not know what it was: what was marked as deleted, and nothing else.
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

/// Counts one more message.
fn count(totals: &mut Totals, octets: u64) {
    totals.messages = totals.messages.saturating_add(1);
    totals.octets = totals.octets.saturating_add(octets);
}
