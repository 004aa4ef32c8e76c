//! The steps of a connection: it reads commands, asks the worker, and sends what has been answered,
//! until it has to wait.

use super::state::{Conn, Input, Outcome, STEPS_MAX, Shared, Step};
use crate::client::ReadResult;
use crate::end_reason::EndReason;
use crate::pop3::{Action, Waiting};
use crate::report;
use zeroize::{Zeroize, Zeroizing};

/// Size of replies to pipelined commands after which they are sent, in bytes.
const FLUSH_SIZE: usize = 8192;

impl Conn {
    /// Takes steps until the connection has to wait, ends, or has had its turn. If there is a TLS
    /// handshake, it is complete.
    pub(crate) fn drive(&mut self, shared: &mut Shared<'_>) -> Outcome {
        match self.pop3.waiting() {
            Waiting::Connected => {
                self.pop3.secured(self.offer());
                self.pop3.greeting(&mut self.client.out);
            }
            Waiting::Securing if self.client.is_secure() => self.pop3.secured(self.offer()),
            _ => {}
        }
        for _ in 0..STEPS_MAX {
            match self.step(shared) {
                Step::Went => {
                    if self.client.out.len() >= FLUSH_SIZE {
                        self.client.flush(shared.now);
                    }
                }
                Step::Stuck if self.gathers() => return Outcome::Waits,
                Step::Stuck => {
                    self.client.flush(shared.now);
                    // The flush can find that the client has gone.
                    if self.client.gone {
                        if let Step::Over(why) = self.step(shared) {
                            return self.over(why, shared);
                        }
                    }
                    self.client.shrink();
                    self.watch_pace(shared.now);
                    return Outcome::Waits;
                }
                Step::Handshake => return Outcome::Again,
                Step::Over(why) => return self.over(why, shared),
            }
        }
        self.client.flush(shared.now);
        Outcome::Again
    }

    /// Does what POP3 wants done, then takes steps as [`Conn::drive`] does.
    pub(crate) fn go_on(&mut self, action: Action, shared: &mut Shared<'_>) -> Outcome {
        self.act(action, shared);
        self.drive(shared)
    }

    /// Whether replies wait for the replies to commands that are here already, so that all go out
    /// in one write.
    fn gathers(&self) -> bool {
        self.pop3.waiting().is_for_worker()
            && !self.input.left().is_empty()
            && !self.client.gone
            && !self.client.blocked()
            && self.client.out.len() < FLUSH_SIZE
    }

    fn step(&mut self, shared: &mut Shared<'_>) -> Step {
        if let Some(ending) = self.ending {
            return self.finish(ending, shared);
        }
        let waiting = self.pop3.waiting();
        if self.client.gone && !waiting.is_update() {
            return Step::Over(EndReason::Reset);
        }
        if self.client.blocked() {
            return Step::Stuck;
        }
        if waiting == Waiting::Securing {
            return self.secure(shared);
        }
        let worker = self.worker.as_ref();
        if worker.is_some_and(|worker| worker.must_be_read(waiting)) {
            let action = self.receive(shared);
            self.act(action, shared);
            Step::Went
        } else if waiting == Waiting::Client {
            self.feed(shared)
        } else {
            Step::Stuck
        }
    }

    /// Processes commands that are here already, or reads some from the client.
    fn feed(&mut self, shared: &mut Shared<'_>) -> Step {
        if !self.input.left().is_empty() {
            let mut input = std::mem::take(&mut self.input);
            input.used += self.process(input.left(), shared);
            if self.keeps_input() && !input.left().is_empty() {
                self.input = input;
            }
            return Step::Went;
        }
        match self.client.read(shared.read) {
            ReadResult::Nothing => Step::Stuck,
            ReadResult::End => {
                let why = if self.client.gone {
                    EndReason::Reset
                } else {
                    EndReason::Client
                };
                self.end(why);
                Step::Went
            }
            ReadResult::Bytes(length) => {
                let secret = !self.pop3.is_logged_in();
                let read = std::mem::take(&mut shared.read);
                let used = self.process(&read[..length], shared);
                if self.keeps_input() && used < length {
                    let bytes = Zeroizing::new(read[used..length].to_vec());
                    self.input = Input { bytes, used: 0 };
                }
                if secret {
                    read[..length].zeroize();
                }
                shared.read = read;
                Step::Went
            }
        }
    }

    /// Whether the rest of what was read is kept. False when the connection ends. Also false after
    /// STLS: what came behind STLS without TLS could be an attacker's (RFC 2595, section 4).
    fn keeps_input(&self) -> bool {
        self.ending.is_none() && self.pop3.waiting() != Waiting::Securing
    }

    /// Gives commands to POP3. Returns how many bytes POP3 took: all, or up to a command that must
    /// be answered first.
    fn process(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> usize {
        let (before, too_long) = (self.client.out.len(), self.pop3.lines_too_long());
        let (used, action) = self.pop3.input(bytes, &mut self.client.out);
        // One line of the log for a connection, so that strangers cannot fill it.
        if too_long == 0 && self.pop3.lines_too_long() > 0 {
            report::too_long(shared.log, &self.subject());
        }
        let acts = action != Action::None;
        let commanded = acts || self.client.out.len() != before;
        if commanded {
            self.since = shared.now;
        }
        self.watch_line(commanded, shared.now);
        self.act(action, shared);
        // If POP3 took nothing and wants nothing, the rest is dropped. Otherwise the same bytes
        // would come here again without end.
        if used == 0 && !acts {
            bytes.len()
        } else {
            used
        }
    }

    /// Does what POP3 wants done, and what follows from that.
    fn act(&mut self, mut action: Action, shared: &mut Shared<'_>) {
        loop {
            action = match action {
                // The step after STLS begins TLS, when the reply has gone.
                Action::None | Action::StartTls => return,
                Action::Login(login) => self.login(login, shared),
                Action::Forwarded(forwarded) => return self.forwarded(forwarded, shared),
                Action::Ask(request) => self.ask(request, shared),
                Action::Close(end) => return self.end(EndReason::Pop3(end)),
            };
        }
    }

    /// A time limit is over. Ends the connection, unless its client has acknowledged enough.
    pub(crate) fn expire(&mut self, why: EndReason, shared: &mut Shared<'_>) -> Outcome {
        let waiting = self.pop3.waiting();
        if why == EndReason::OpenTime && self.ending.is_none() {
            self.pop3.no_session(&mut self.client.out);
            self.end(why);
            return self.drive(shared);
        }
        if why == EndReason::LoginTime && self.ending.is_none() && waiting.may_reply() {
            self.pop3.login_time_over(&mut self.client.out);
            self.end(why);
            return self.drive(shared);
        }
        if self.has_advanced(why, shared.now) {
            return Outcome::Waits;
        }
        // In the middle of a reply, a text would look like a part of the reply.
        let hears = waiting == Waiting::Client && !self.client.pending();
        if why == EndReason::Newcomer && self.ending.is_none() && hears {
            self.pop3.yield_to_newcomer(&mut self.client.out);
            self.end(why);
            return self.drive(shared);
        }
        self.over(why, shared)
    }

    /// The server ends. A connection that does not log in ends now. A session, and a login that is
    /// under way, may go on.
    pub(crate) fn drain(&mut self, shared: &mut Shared<'_>) -> Outcome {
        let waiting = self.pop3.waiting();
        let logs_in = matches!(waiting, Waiting::Auth | Waiting::Opening);
        if logs_in || self.pop3.is_logged_in() || self.ending.is_some() {
            return Outcome::Waits;
        }
        if waiting.may_reply() {
            let farewell = b"-ERR [SYS/TEMP] The server is shutting down\r\n";
            self.client.out.extend_from_slice(farewell);
            self.end(EndReason::Shutdown);
            return self.drive(shared);
        }
        self.over(EndReason::Shutdown, shared)
    }
}
