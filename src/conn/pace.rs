//! The time limits of a connection: when it must be checked, and why it ends if nothing changes.
//!
//! A client must not keep a connection by sending or taking an octet now and then. Before a login
//! one limit covers the whole login. After a login there are limits on the whole line of a command,
//! on the average pace at which a reply is taken, on silence, and on the whole session.

use super::state::Conn;
use crate::end_reason::EndReason;
use crate::pop3::{Action, Waiting};
use std::time::{Duration, Instant};

fn after(since: Instant, ms: u32) -> Instant {
    since + Duration::from_millis(ms.into())
}

type Deadline = (Instant, EndReason);

fn soonest(one: Deadline, other: Option<Deadline>) -> Deadline {
    match other {
        Some(other) if other.0 < one.0 => other,
        _ => one,
    }
}

impl Conn {
    /// When the connection must be checked, and why it ends if nothing has changed by then.
    pub(crate) fn deadline(&self) -> Deadline {
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
        if let Some(ending) = self.ending {
            let taken = soonest(soonest(session, Some(stalled)), slow);
            return (ending.lingers.unwrap_or(taken.0), ending.why);
        }
        let waiting = self.pop3.waiting();
        let other = if waiting.is_update() {
            // The worker does the update now. To end the connection earlier would not stop it.
            let at = session.0.max(after(self.since, limits.stall_ms));
            return (at, EndReason::WorkerTime);
        } else if self.client.blocked() {
            soonest(stalled, self.yields_at(self.client.progress))
        } else {
            // The time begins when the client has taken the reply before.
            let since = self.since.max(self.client.progress);
            if waiting.is_for_worker() {
                (after(since, limits.stall_ms), EndReason::WorkerTime)
            } else {
                let line = self
                    .line
                    .map(|since| (after(since, limits.line_ms), EndReason::LineTime));
                let idle = (after(since, limits.idle_ms), EndReason::IdleTime);
                soonest(soonest(idle, line), self.yields_at(since))
            }
        };
        soonest(soonest(session, slow), Some(other))
    }

    /// When the session ends in favour of the user's new one, if the client is silent from `since`
    /// until then. `None`: no new session waits so long, or sessions do not yield.
    fn yields_at(&self, since: Instant) -> Option<Deadline> {
        let at = after(since, self.settings.limits.yield_ms?);
        (at <= self.newcomer?).then_some((at, EndReason::Newcomer))
    }

    /// Another session of the same user waits for the locks of this one, from now on.
    pub(crate) fn expect_newcomer(&mut self, now: Instant) -> Action {
        self.newcomer = Some(after(now, self.settings.limits.open_ms));
        Action::None
    }

    fn deadline_before_login(&self) -> Deadline {
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

    /// Whether the connection may go on although this limit is over, because the client's host has
    /// acknowledged enough. The socket's buffer can hold minutes of a slow line. In that time only
    /// the acknowledgements show that the client reads.
    pub(super) fn has_advanced(&mut self, why: EndReason, now: Instant) -> bool {
        let goes_on = match (self.ending, why) {
            (None, EndReason::SlowTime) => self.keeps_pace(now),
            (None, EndReason::IdleTime | EndReason::Newcomer) => {
                !self.client.has_all() && self.client.advances(now)
            }
            _ => false,
        };
        // From here on the pace is measured, so that an octet now and then is not enough.
        if goes_on && self.slow.is_none() && !self.client.has_all() {
            self.slow = Some((now, self.client.acknowledged()));
        }
        goes_on
    }

    /// Notes since when a line is incomplete. `commanded`: a command was processed just now.
    pub(super) fn watch_line(&mut self, commanded: bool, now: Instant) {
        self.line = match self.line {
            _ if !self.pop3.is_within_line() => None,
            Some(since) if !commanded => Some(since),
            _ => Some(now),
        };
    }

    /// Begins to measure the pace of a client that keeps a reply waiting. Stops when the socket has
    /// taken everything.
    pub(super) fn watch_pace(&mut self, now: Instant) {
        if self.slow.is_none() && self.client.blocked() {
            self.slow = Some((now, self.client.acknowledged()));
        } else if self.slow.is_some() && self.is_served() {
            self.slow = None;
        }
    }

    /// Whether the socket has taken everything that there was for the client.
    fn is_served(&self) -> bool {
        self.pop3.waiting() == Waiting::Client && !self.client.pending()
    }

    /// Whether the client has taken enough since the last check. Begins the next measurement.
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
