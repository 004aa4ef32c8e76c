//! The logins under way and how far each has come. No socket and no clock: times are passed in.
//!
//! Held (its source waits) → checking → [awaiting the proof → checking → awaiting the client's last word] → granted, or
//! failed and told in due time. There are so many at most, and one that stands still between two steps is dropped.

use crate::policy::attempts::Guess;
use crate::scram_exchange::ScramExchange;
use popward_proto::account::{Account, SessionId};
use popward_proto::auth::{Client, Credentials, Impossible, ScramProof};
use popward_proto::bounded::UserName;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Most logins at once, those among them that failed and wait for their time. One beyond is answered as temporary.
pub(crate) const LOGINS_MAX: usize = 8192;

/// How long a client may think between two steps. After it the client hears that it cannot log in now.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(120);

/// Names one login of one session: what was found out for another one that the session had before is not for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginId {
    /// The session.
    pub(crate) session: SessionId,
    number: u64,
}

#[cfg(test)]
impl LoginId {
    pub(crate) fn of_test(number: u64) -> Self {
        let session = SessionId::new(popward_proto::account::FrontId(1), 1);
        Self { session, number }
    }
}

/// One login.
#[derive(Debug)]
pub(crate) struct Login {
    /// The name, once it is known: a token's or a certificate's is found out.
    pub(crate) user: Option<UserName>,
    /// Whether it was found out that the credentials are the user's, and it is the account that is looked for.
    pub(crate) identified: bool,
    /// Whether nobody waits for it any more: what is found out is counted, and not told.
    pub(crate) abandoned: bool,
    /// Who shows credentials.
    pub(crate) client: Client,
    /// Why it fails whatever a check finds, if so.
    pub(crate) impossible: Option<Impossible>,
    /// While what it shows is looked at: it counts against its name.
    pub(crate) guess: Option<Guess>,
    /// When came what is to be answered next.
    came: Instant,
    /// Since when it would be looked at, were there nobody else.
    ready: Instant,
    number: u64,
    state: State,
}

/// What a client has shown and is still to be looked at.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// What a login begins with.
    Credentials(Credentials),
    /// The answer to a challenge.
    Proof(Box<ScramExchange>, ScramProof),
}

#[derive(Debug)]
enum State {
    Held {
        until: Instant,
        shown: Box<Evidence>,
    },
    Checking,
    AwaitingProof {
        until: Instant,
        exchange: Box<ScramExchange>,
    },
    AwaitingProceed {
        until: Instant,
        account: Box<Account>,
    },
    Failed {
        due: Instant,
    },
}

/// What is to be done with a login whose time has come.
#[derive(Debug)]
pub(crate) enum Due {
    /// It has waited: look at this.
    Check(LoginId, Box<Evidence>),
    /// Its failure is told.
    Refuse(SessionId),
    /// It stood still, and is no more.
    Dropped(SessionId),
}

/// A message came of a session whose login is not at that point.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

/// All logins under way.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    held: HashMap<SessionId, Login>,
    count: u64,
}

/// Why no login began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// The session has one already.
    OutOfOrder,
    /// There are too many.
    Full,
}

impl Logins {
    /// Begins one.
    pub(crate) fn begin(
        &mut self,
        session: SessionId,
        client: Client,
        impossible: Option<Impossible>,
        now: Instant,
    ) -> Result<LoginId, NotBegun> {
        // One that waits for its client may be begun anew: that it was given up may not have been heard.
        let held = self.held.get(&session);
        if held.is_some_and(|login| !login.waits() && !login.abandoned) {
            return Err(NotBegun::OutOfOrder);
        }
        if self.held.len() >= LOGINS_MAX {
            return Err(NotBegun::Full);
        }
        self.count += 1;
        let login = Login {
            user: None,
            identified: false,
            abandoned: false,
            client,
            impossible,
            guess: None,
            came: now,
            ready: now,
            number: self.count,
            state: State::Checking,
        };
        self.held.insert(session, login);
        Ok(LoginId {
            session,
            number: self.count,
        })
    }

    /// The login with this id. `None` if it has ended, or if its session has begun another one.
    pub(crate) fn get(&mut self, login_id: LoginId) -> Option<&mut Login> {
        let login = self.held.get_mut(&login_id.session)?;
        (login.number == login_id.number).then_some(login)
    }

    /// Ends it, whatever it came to.
    pub(crate) fn end(&mut self, login_id: LoginId) {
        if self.get(login_id).is_some() {
            self.held.remove(&login_id.session);
        }
    }

    /// Nobody waits for it any more. There may be none: it ended as this came. One that is being checked stays until that is
    /// done, to be counted.
    pub(crate) fn cancel(&mut self, session: SessionId) {
        if let Some(login) = self.held.get_mut(&session) {
            if matches!(login.state, State::Checking) {
                login.abandoned = true;
            } else {
                self.held.remove(&session);
            }
        }
    }

    /// Keeps those of sessions that have not ended with their front.
    pub(crate) fn keep(&mut self, kept: impl Fn(SessionId) -> bool) {
        self.held.retain(|session, _| kept(*session));
    }

    /// The client's proof. `None` if the login was dropped before it came.
    pub(crate) fn prove(
        &mut self,
        session: SessionId,
        now: Instant,
    ) -> Result<Option<(LoginId, Box<ScramExchange>)>, OutOfOrder> {
        let Some(login) = self.held.get_mut(&session) else {
            return Ok(None);
        };
        match std::mem::replace(&mut login.state, State::Checking) {
            State::AwaitingProof { exchange, .. } => {
                // How long the client thought is no part of how long the check takes.
                (login.came, login.ready) = (now, now);
                let number = login.number;
                Ok(Some((LoginId { session, number }, exchange)))
            }
            _ => Err(OutOfOrder),
        }
    }

    /// The client's last word. `None` if the login was dropped before it came.
    pub(crate) fn proceed(&mut self, session: SessionId) -> Result<Option<Account>, OutOfOrder> {
        match self.held.remove(&session).map(|login| login.state) {
            None => Ok(None),
            Some(State::AwaitingProceed { account, .. }) => Ok(Some(*account)),
            Some(_) => Err(OutOfOrder),
        }
    }

    /// When there is next something due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.held.values().filter_map(Login::until).min()
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Due> {
        let is_due = |login: &Login| login.until().is_some_and(|until| until <= now);
        let due = self.held.iter().filter(|(_, login)| is_due(login));
        let sessions: Vec<SessionId> = due.map(|(session, _)| *session).collect();
        let take = |session: SessionId| {
            let login = self.held.get_mut(&session)?;
            let number = login.number;
            Some(match std::mem::replace(&mut login.state, State::Checking) {
                State::Held { shown, .. } => Due::Check(LoginId { session, number }, shown),
                State::Failed { .. } => {
                    self.held.remove(&session);
                    Due::Refuse(session)
                }
                _ => {
                    self.held.remove(&session);
                    Due::Dropped(session)
                }
            })
        };
        sessions.into_iter().filter_map(take).collect()
    }
}

impl Login {
    /// When something is to be done whether or not anybody says anything.
    fn until(&self) -> Option<Instant> {
        match &self.state {
            State::Held { until, .. }
            | State::AwaitingProof { until, .. }
            | State::AwaitingProceed { until, .. }
            | State::Failed { due: until } => Some(*until),
            State::Checking => None,
        }
    }

    /// Since when it would be looked at, were there nobody else.
    pub(crate) fn ready(&self) -> Instant {
        self.ready
    }

    /// Whether it waits for its client.
    fn waits(&self) -> bool {
        let state = &self.state;
        matches!(
            state,
            State::AwaitingProof { .. } | State::AwaitingProceed { .. }
        )
    }

    /// Its source has to wait until its credentials are looked at.
    pub(crate) fn wait_for_penalty(&mut self, until: Instant, credentials: Credentials) {
        self.ready = until;
        self.hold(until, Evidence::Credentials(credentials));
    }

    /// Others come first: it is to be tried again then.
    pub(crate) fn hold(&mut self, until: Instant, shown: Evidence) {
        let shown = Box::new(shown);
        self.state = State::Held { until, shown };
    }

    /// The challenge is given.
    pub(crate) fn await_proof(&mut self, exchange: Box<ScramExchange>, now: Instant) {
        let until = now + STEP_MAX;
        self.state = State::AwaitingProof { until, exchange };
    }

    /// The proof was right, and the server's is given.
    pub(crate) fn await_proceed(&mut self, account: Account, now: Instant) {
        let (until, account) = (now + STEP_MAX, Box::new(account));
        self.state = State::AwaitingProceed { until, account };
    }

    /// It failed, which is told after a whole number of delays.
    pub(crate) fn fail(&mut self, delay: Duration, now: Instant) {
        let due = due(self.came, now, delay);
        self.state = State::Failed { due };
    }
}

/// When a failure that came then and is known now is told: after a whole number of delays, so that how long the
/// check took does not show (P9), however busy auth is.
fn due(came: Instant, now: Instant, delay: Duration) -> Instant {
    if delay.is_zero() {
        return now;
    }
    let took = now.saturating_duration_since(came).as_nanos();
    let delays = took.div_ceil(delay.as_nanos()).max(1);
    came + delay * u32::try_from(delays).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
