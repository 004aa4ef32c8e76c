//! The logins under way, and the step that each has reached. No socket and no clock: times are
//! passed in.
//!
//! | state | next |
//! | --- | --- |
//! | `Held`: waits for its source's penalty, or for other logins | `Checking` |
//! | `Checking`: a thread or a conversation has it | granted, `Failed`, or for SCRAM the next two |
//! | `AwaitingProof`: the client has the challenge | `Checking` |
//! | `AwaitingProceed`: the client has the server's signature | granted |
//! | `Failed`: the client is told after a whole number of delays | ended |
//!
//! There are at most [`LOGINS_MAX`] logins. A client that is silent for [`STEP_MAX`] between two
//! steps loses its login.

use crate::policy::attempts::Guess;
use crate::scram_exchange::ScramExchange;
use popward_proto::account::{Account, SessionId};
use popward_proto::auth::{Client, Credentials, Impossible, ScramProof};
use popward_proto::bounded::UserName;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most logins at once, including failed ones whose client has not been told yet. A login beyond
/// gets a temporary failure.
pub(crate) const LOGINS_MAX: usize = 8192;

/// How long a client may take between two steps. A later step gets a temporary failure.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(120);

/// The id of one login. A session can have one login after the other, so a verdict names the login
/// and not only the session.
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
    /// The user's name. `None` until a token or a certificate has been checked.
    pub(crate) user: Option<UserName>,
    /// Whether a token or a certificate has identified the user. Then only the account is looked
    /// up.
    pub(crate) identified: bool,
    /// Whether the client has gone. The verdict is counted, but nobody is told.
    pub(crate) abandoned: bool,
    /// The client: its address, and whether it uses TLS.
    pub(crate) client: Client,
    /// Why the login fails whatever the check finds. `None` for most logins.
    pub(crate) impossible: Option<Impossible>,
    /// Counts against the user's name while the check runs.
    pub(crate) guess: Option<Guess>,
    /// Counts against the user's name in the auth that takes over at a reload.
    undecided: Option<Undecided>,
    /// When the client's last step came.
    came: Instant,
    /// When the check could have started without other logins before it.
    ready: Instant,
    number: u64,
    state: State,
}

/// A login that the auth that takes over counts as a guess. It is dropped when the login is decided
/// or ends without a decision. Then `decided` gets the user's name.
#[derive(Debug)]
pub(crate) struct Undecided {
    user: UserName,
    decided: Rc<RefCell<Vec<UserName>>>,
}

impl Undecided {
    /// For a login by `user`.
    pub(crate) fn new(user: UserName, decided: &Rc<RefCell<Vec<UserName>>>) -> Self {
        Self {
            user,
            decided: Rc::clone(decided),
        }
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.decided.borrow_mut().push(self.user.clone());
    }
}

/// What a client has sent and a check must verify.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// The credentials with which the login began.
    Credentials(Credentials),
    /// SCRAM: the answer to a challenge.
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

/// What to do with a login whose time has come.
#[derive(Debug)]
pub(crate) enum Due {
    /// Its wait is over. Check this.
    Check(LoginId, Box<Evidence>),
    /// Tell the client that it failed.
    Refuse(SessionId),
    /// The client's next step did not come in time. The login has ended.
    Dropped(SessionId),
}

/// The session's login is not at the step that a message belongs to.
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
    /// Begins a login.
    pub(crate) fn begin(
        &mut self,
        session: SessionId,
        client: Client,
        impossible: Option<Impossible>,
        now: Instant,
    ) -> Result<LoginId, NotBegun> {
        // A login that waits for its client may be replaced. The client may have given it up, and
        // the front's `Cancel` may be missing.
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
            undecided: None,
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

    /// Ends the login with this id, if it has not ended.
    pub(crate) fn end(&mut self, login_id: LoginId) {
        if self.get(login_id).is_some() {
            self.held.remove(&login_id.session);
        }
    }

    /// Cancels the session's login, because the client has gone. There may be none: it may have
    /// ended while this message was on its way. A login that is being checked stays until its
    /// verdict, because a wrong guess must count.
    pub(crate) fn cancel(&mut self, session: SessionId) {
        if let Some(login) = self.held.get_mut(&session) {
            if matches!(login.state, State::Checking) {
                login.abandoned = true;
            } else {
                self.held.remove(&session);
            }
        }
    }

    /// Whether there is no login.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The user names of the logins whose credentials are not checked yet, one name for each login.
    /// `decided` gets each name once more when its login is decided.
    pub(crate) fn leave_undecided(
        &mut self,
        decided: &Rc<RefCell<Vec<UserName>>>,
    ) -> Vec<UserName> {
        let mut names = Vec::new();
        for login in self.held.values_mut() {
            let is_decided = matches!(
                login.state,
                State::AwaitingProceed { .. } | State::Failed { .. }
            );
            if let (Some(user), false) = (&login.user, is_decided) {
                login.undecided = Some(Undecided::new(user.clone(), decided));
                names.push(user.clone());
            }
        }
        names
    }

    /// Removes the logins of all sessions for which `kept` is false.
    pub(crate) fn keep(&mut self, kept: impl Fn(SessionId) -> bool) {
        self.held.retain(|session, _| kept(*session));
    }

    /// The client's proof has come. `None` if the login was dropped before.
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
                // The client's own time must not count as time of the check.
                (login.came, login.ready) = (now, now);
                let number = login.number;
                Ok(Some((LoginId { session, number }, exchange)))
            }
            _ => Err(OutOfOrder),
        }
    }

    /// The client has accepted the server's signature. `None` if the login was dropped before.
    pub(crate) fn proceed(&mut self, session: SessionId) -> Result<Option<Account>, OutOfOrder> {
        match self.held.remove(&session).map(|login| login.state) {
            None => Ok(None),
            Some(State::AwaitingProceed { account, .. }) => Ok(Some(*account)),
            Some(_) => Err(OutOfOrder),
        }
    }

    /// The next time at which a login is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.held.values().filter_map(Login::until).min()
    }

    /// Takes the logins that are due at `now`.
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
    /// When this login is due without any message. `None` while a check runs.
    fn until(&self) -> Option<Instant> {
        match &self.state {
            State::Held { until, .. }
            | State::AwaitingProof { until, .. }
            | State::AwaitingProceed { until, .. }
            | State::Failed { due: until } => Some(*until),
            State::Checking => None,
        }
    }

    /// When the check could have started without other logins before it.
    pub(crate) fn ready(&self) -> Instant {
        self.ready
    }

    /// Whether this login waits for its client.
    fn waits(&self) -> bool {
        let state = &self.state;
        matches!(
            state,
            State::AwaitingProof { .. } | State::AwaitingProceed { .. }
        )
    }

    /// Holds the login until its source's penalty is over.
    pub(crate) fn wait_for_penalty(&mut self, until: Instant, credentials: Credentials) {
        self.ready = until;
        self.hold(until, Evidence::Credentials(credentials));
    }

    /// Holds the login until the next try, because other logins come first.
    pub(crate) fn hold(&mut self, until: Instant, shown: Evidence) {
        let shown = Box::new(shown);
        self.state = State::Held { until, shown };
    }

    /// The client has the challenge.
    pub(crate) fn await_proof(&mut self, exchange: Box<ScramExchange>, now: Instant) {
        let until = now + STEP_MAX;
        self.state = State::AwaitingProof { until, exchange };
    }

    /// The proof was right, and the client has the server's signature.
    pub(crate) fn await_proceed(&mut self, account: Account, now: Instant) {
        let (until, account) = (now + STEP_MAX, Box::new(account));
        self.undecided = None;
        self.state = State::AwaitingProceed { until, account };
    }

    /// The login has failed. The client is told after a whole number of `delay`s.
    pub(crate) fn fail(&mut self, delay: Duration, now: Instant) {
        self.undecided = None;
        let due = due(self.came, now, delay);
        self.state = State::Failed { due };
    }
}

/// When to tell a client about a failure: a whole number of `delay`s after its step came.
///
/// So the client does not learn how long the check took, however busy auth is (P9).
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
