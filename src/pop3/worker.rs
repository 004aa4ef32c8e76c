//! What the monitor and the worker say, and what the client hears of it.

use super::language::Phrase;
use super::{Action, End, Pop3, State, ok};
use crate::sasl::Then;
use popward_proto::bounded::UserName;
use popward_proto::permit::Message;
use popward_proto::session::{
    ClientPhase, OpenFailure, Refusal, Request, Totals, Update, WorkerToFront,
};

impl Pop3 {
    /// There will be no worker.
    pub fn no_session(&mut self, out: &mut Vec<u8>) -> Action {
        match self.state {
            State::Authorization(_) | State::Sasl(_) | State::Checking(_) => {
                self.error(Phrase::NotOpenedNow, out);
                self.close(End::Temporary)
            }
            _ => self.worker_gone(out),
        }
    }

    /// Whether a worker may say this now: by the table by which its channel admits messages, for who calls without one.
    fn awaits(&self, message: &WorkerToFront) -> bool {
        let phase = match self.state {
            State::Checking(_) => ClientPhase::Opening,
            State::Transaction => ClientPhase::Idle,
            State::Asked(request) => ClientPhase::Asked(request),
            State::Streaming { .. } => ClientPhase::Streaming,
            State::Update(None) => ClientPhase::Asked(Request::Quit),
            _ => return false,
        };
        // What comes ahead may come at any time, but gets here only as the answer to RETR.
        let asked = match message {
            WorkerToFront::Ahead(..) => {
                self.retrieving && phase == ClientPhase::Asked(Request::Body)
            }
            _ => true,
        };
        asked && message.permit().phases.contains(&phase)
    }

    /// Auth granted: whose maildrop it is, whatever the client called itself, and how far apart its logins are.
    pub fn granted(&mut self, user: UserName, login_delay_s: u32) {
        self.user = Some(user);
        self.login_delay_s = Some(login_delay_s);
    }

    /// The worker said something. What nobody asked for ends the session. With `Listing`, `Body` and `Ahead` data come.
    pub fn worker(&mut self, message: &WorkerToFront, out: &mut Vec<u8>) -> Action {
        if !self.awaits(message) {
            return self.worker_gone(out);
        }
        let next = match message {
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
            WorkerToFront::Totals(t) => {
                ok(out, format_args!("{} {}", t.messages, t.octets));
                State::Transaction
            }
            WorkerToFront::Listing(t) => {
                self.ok(Phrase::Messages, &[t.messages.into()], out);
                State::Streaming { retrieved: None }
            }
            WorkerToFront::Body(octets) | WorkerToFront::Ahead(_, octets) => {
                self.ok(Phrase::Octets, &[*octets], out);
                State::Streaming {
                    retrieved: self.retrieving.then_some(*octets),
                }
            }
            WorkerToFront::Size(number, octets) => {
                ok(out, format_args!("{number} {octets}"));
                State::Transaction
            }
            WorkerToFront::Unique(number, id) => {
                ok(out, format_args!("{number} {id}"));
                State::Transaction
            }
            WorkerToFront::Deleted(number, octets) => {
                count(&mut self.marked, *octets);
                self.ok(Phrase::Deleted, &[number.0.get().into()], out);
                State::Transaction
            }
            WorkerToFront::Refused(why) => {
                let phrase = match why {
                    Refusal::NoSuchMessage => Phrase::NoSuchMessage,
                    Refusal::AlreadyDeleted => Phrase::IsDeleted,
                };
                self.error(phrase, out);
                State::Transaction
            }
            WorkerToFront::Broken(_) => return self.worker_gone(out),
            WorkerToFront::Committed(update) => {
                self.update = Some(*update);
                State::Update(Some(true))
            }
            WorkerToFront::NotCommitted(_) => State::Update(Some(false)),
        };
        self.state = next;
        Action::None
    }

    fn opened_now(&mut self, totals: Totals, out: &mut Vec<u8>) -> Action {
        // A login that must not be is none, whatever was granted.
        let granted = matches!(&self.state, State::Checking(checking)
            if checking.impossible.is_none() && matches!(checking.then, Then::Grant | Then::TokenGrant(_)));
        if !granted {
            return self.no_session(out);
        }
        self.opened = Some(totals);
        self.state = State::Transaction;
        let numbers = [totals.messages.into(), totals.octets];
        self.ok(Phrase::Opened, &numbers, out);
        Action::None
    }

    /// A data packet has been written to the client; the last one ends the reply.
    pub fn data(&mut self, last: bool, out: &mut Vec<u8>) {
        if let (true, State::Streaming { retrieved }) = (last, &self.state) {
            if let Some(octets) = retrieved {
                count(&mut self.retrieved, *octets);
            }
            out.extend_from_slice(b".\r\n");
            self.state = State::Transaction;
        }
    }

    /// The worker has gone and its locks with it. `finished`: it did not finish its update, and another one did.
    pub fn worker_ended(&mut self, finished: bool, out: &mut Vec<u8>) -> Action {
        match self.state {
            State::Update(said) if finished || said == Some(true) => {
                // Who finished it does not know what that was: nothing but what was marked.
                let (marked, opened) = (self.marked, self.opened.unwrap_or_default());
                self.update.get_or_insert(Update {
                    deleted: marked,
                    left: Totals {
                        messages: opened.messages.saturating_sub(marked.messages),
                        octets: opened.octets.saturating_sub(marked.octets),
                    },
                });
                self.sign_off(out);
            }
            State::Update(_) => self.error(Phrase::NotRemoved, out),
            State::Closing => return Action::None,
            _ => return self.worker_gone(out),
        }
        self.close(End::Quit)
    }

    /// The session's socket is closed.
    pub fn worker_gone(&mut self, out: &mut Vec<u8>) -> Action {
        match self.state {
            // The locks are not free yet: `worker_ended` answers.
            State::Update(_) | State::Closing => return Action::None,
            // Within a reply nothing can be said, nor between STLS and TLS.
            State::Streaming { .. } | State::Securing => {}
            _ => self.error(Phrase::BrokenOff, out),
        }
        self.close(End::Broken)
    }
}

/// Counts one more message.
fn count(totals: &mut Totals, octets: u64) {
    totals.messages = totals.messages.saturating_add(1);
    totals.octets = totals.octets.saturating_add(octets);
}
