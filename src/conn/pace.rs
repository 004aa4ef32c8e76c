//! How long a connection has for what: when it must be looked at, and what then ends it.
//!
//! At every point something ends a client that sends or takes an octet now and then: before a login one limit over all; after
//! it the whole line of a command, the average of what is taken of a reply, silence, and the whole session.

use super::{Conn, Outcome, Turn};
use crate::end_reason::EndReason;
use crate::pop3::Waiting;
use std::time::{Duration, Instant};

fn after(since: Instant, ms: u32) -> Instant {
    since + Duration::from_millis(ms.into())
}

impl Conn {
    /// When it must be looked at, and why it ends if nothing has changed by then.
    pub(crate) fn deadline(&self) -> (Instant, EndReason) {
        let limits = &self.settings.limits;
        if !self.pop3.is_logged_in() {
            return self.deadline_before_login();
        }
        let stalled = (
            after(self.client.progress, limits.stall_ms),
            EndReason::StallTime,
        );
        let session = (
            after(self.session_began, limits.session_ms),
            EndReason::SessionTime,
        );
        let slow = self
            .slow
            .map(|(since, _)| (after(since, limits.stall_ms), EndReason::SlowTime));
        let soonest = |one: (Instant, EndReason), other: Option<(Instant, EndReason)>| match other {
            Some(other) if other.0 < one.0 => other,
            _ => one,
        };
        if let Some(ending) = self.ending {
            let taken = soonest(soonest(session, Some(stalled)), slow);
            return (ending.lingers.unwrap_or(taken.0), ending.why);
        }
        let waiting = self.pop3.waiting();
        let other = if waiting.is_update() {
            // The update is the worker's by now: to give up earlier would spare nothing.
            let at = session.0.max(after(self.since, limits.stall_ms));
            return (at, EndReason::WorkerTime);
        } else if self.client.blocked() {
            stalled
        } else {
            // What was said before may have kept the client longer than this may take.
            let since = self.since.max(self.client.progress);
            if waiting.is_for_worker() {
                (after(since, limits.stall_ms), EndReason::WorkerTime)
            } else {
                let line = self
                    .line
                    .map(|since| (after(since, limits.line_ms), EndReason::LineTime));
                soonest((after(since, limits.idle_ms), EndReason::IdleTime), line)
            }
        };
        soonest(soonest(session, slow), Some(other))
    }

    fn deadline_before_login(&self) -> (Instant, EndReason) {
        let limits = &self.settings.limits;
        let login = after(self.accepted, limits.login_ms);
        if let Some(ending) = self.ending {
            let stalled = after(self.client.progress, limits.stall_ms);
            return (ending.lingers.unwrap_or(stalled.min(login)), ending.why);
        }
        match self.pop3.waiting() {
            Waiting::Auth | Waiting::Opening => {
                (after(self.since, limits.open_ms), EndReason::OpenTime)
            }
            _ => (login, EndReason::LoginTime),
        }
    }

    /// Its time is up.
    pub(crate) fn expire(&mut self, why: EndReason, turn: &mut Turn<'_>) -> Outcome {
        if why == EndReason::OpenTime && self.ending.is_none() {
            self.pop3.no_session(&mut self.client.out);
            self.end(why);
            return self.drive(turn);
        }
        if why == EndReason::LoginTime && self.ending.is_none() && self.pop3.waiting().may_reply() {
            self.pop3.login_time_over(&mut self.client.out);
            self.end(why);
            return self.drive(turn);
        }
        // A socket's buffer can hold minutes of a slow line, in which nothing is seen of it but what its host acknowledges.
        let goes_on = match (self.ending, why) {
            (None, EndReason::SlowTime) => self.keeps_pace(turn.now),
            (None, EndReason::IdleTime) => !self.client.has_all() && self.client.advances(turn.now),
            _ => false,
        };
        if goes_on {
            // From here on it is measured, if it was not: no octet now and then keeps a session alive.
            if self.slow.is_none() && !self.client.has_all() {
                self.slow = Some((turn.now, self.client.acknowledged()));
            }
            return Outcome::Waits;
        }
        self.over(why, turn)
    }

    /// Notes since when a line is not complete. `commanded`: another one has been since.
    pub(super) fn watch_line(&mut self, commanded: bool, now: Instant) {
        self.line = match self.line {
            _ if !self.pop3.is_within_line() => None,
            Some(since) if !commanded => Some(since),
            _ => Some(now),
        };
    }

    /// Begins to measure how fast a client takes a reply that it keeps waiting, and ceases when it has all.
    pub(super) fn watch_pace(&mut self, now: Instant) {
        if self.slow.is_none() && self.client.blocked() {
            self.slow = Some((now, self.client.acknowledged()));
        } else if self.slow.is_some() && self.is_served() {
            self.slow = None;
        }
    }

    /// Whether our socket has taken all that there was for the client.
    fn is_served(&self) -> bool {
        self.pop3.waiting() == Waiting::Client && !self.client.pending()
    }

    /// Whether the client has taken enough since it was last looked at; if so, it is measured anew.
    fn keeps_pace(&mut self, now: Instant) -> bool {
        let Some((since, before)) = self.slow else {
            return true;
        };
        if self.is_served() && self.client.has_all() {
            self.slow = None;
            return true;
        }
        let taken = self.client.acknowledged();
        let elapsed = now.saturating_duration_since(since).as_millis();
        let least = u128::from(self.settings.limits.rate) * elapsed / 1000;
        self.slow = Some((now, taken));
        u128::from(taken.saturating_sub(before)) >= least
    }
}
