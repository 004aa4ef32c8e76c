//! From a grant to a worker in a front's hands.
//!
//! Sessions of one user may be at several monitors during a reload. So the supervisor is asked
//! first: it counts a user's sessions, and it knows which spools they have.

use crate::sessions::Sessions;
use crate::workers::{self, NoWorker, Progress, Session};
use popward_parent::events::ChildId;
use popward_proto::account::{Account, FrontId, SessionId};
use popward_proto::auth_sessions::SessionsToAuth;
use popward_proto::log::Level;
use popward_proto::sessions_front::SessionsToFront;
use popward_proto::sessions_worker::Task;
use popward_proto::settings::Settings;
use popward_proto::supervisor_sessions::{Claim, Refusal, SessionsToSupervisor};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The front of sessions that no client has. Fronts are counted from 1.
const NO_FRONT: FrontId = FrontId(0);

/// How many workers, one after the other, try to finish what one left. Its dotlock stays meanwhile.
const FINISHERS_MAX: u8 = 3;

/// How many workers at once look after what was found at the start.
const TENDED_AT_ONCE: usize = 4;

impl Sessions {
    /// Auth says that a session belongs to an account.
    pub(crate) fn granted(&mut self, session: SessionId, account: Account) {
        let known = self.claims.contains_key(&session);
        let live = known
            || self
                .workers
                .values()
                .any(|worker| worker.session.id == session);
        if live || !self.serves() || !self.has_front(session.front()) {
            return self.refuse(session, &account, false);
        }
        let own = self.config.settings.of(&account);
        let held = self.pace.holds(&account.name, Instant::now());
        let held = held.then_some(NoWorker::Account("sessions of this user fail too often"));
        match held.map_or_else(|| workers::place(&self.config, (&account, &own)), Err) {
            Ok((directory, spool)) => {
                let claimed = self.tell(&SessionsToSupervisor::Claim(Claim {
                    session,
                    user: account.name.clone(),
                    directory,
                    spool,
                    sessions_max: own.sessions_per_user,
                    adopts: workers::adopts(&self.state, (&account, &own)),
                }));
                if claimed {
                    self.claims.insert(session, account);
                } else {
                    self.refuse(session, &account, false);
                }
            }
            Err(error) => {
                self.log_no_worker(session, &account, &error);
                self.refuse(session, &account, false);
            }
        }
    }

    /// The supervisor's answer to a claim.
    pub(crate) fn claimed(&mut self, session: SessionId, refusal: Option<Refusal>) {
        let Some(account) = self.claims.remove(&session) else {
            return;
        };
        if let Some(refusal) = refusal {
            self.log_no_worker(session, &account, &NoWorker::Refused(refusal));
            return self.refuse(session, &account, refusal != Refusal::Elsewhere);
        }
        if !self.serves() || !self.serve(session, &account) {
            self.tell(&SessionsToSupervisor::Released(session));
            self.refuse(session, &account, false);
        }
        self.tidy();
    }

    /// Hands a front a worker. Returns false if there is no worker.
    fn serve(&mut self, session: SessionId, account: &Account) -> bool {
        let own = self.config.settings.of(account);
        let Some(id) = self.start_worker(session, (account, &own), Task::Serve, None) else {
            return false;
        };
        let Some(started) = self.workers.get_mut(&id) else {
            return false;
        };
        let front_end = started.session.front_end.take();
        if started.session.task == Task::Serve && !own.spool.adopt.as_slice().is_empty() {
            // Another session's adoption may have ended since the claim.
            self.tell(&SessionsToSupervisor::Adopted(session));
        }
        let message = SessionsToFront::Session {
            session,
            user: account.name.clone(),
            login_delay_s: own.login_delay_s,
        };
        // Without a front, the end of the socket is closed here, and the worker ends.
        if let Some(end) = front_end {
            self.tell_front(session.front(), &message, &[end.as_fd()]);
        }
        true
    }

    /// Starts a worker, or logs why there is none.
    pub(crate) fn start_worker(
        &mut self,
        session: SessionId,
        whose: (&Account, &Settings),
        task: Task,
        socket: Option<OwnedFd>,
    ) -> Option<ChildId> {
        let (config, starter, state) = (&self.config, &mut self.starter, &self.state);
        match workers::start(config, starter, state, session, whose, task, socket) {
            Ok(worker) => {
                let id = worker.child.id();
                self.workers.insert(id, worker);
                Some(id)
            }
            Err(error) => {
                self.log_no_worker(session, whose.0, &error);
                None
            }
        }
    }

    /// Starts the worker of a session for which popward-adopt has worked. It answers over the
    /// socket that the front has already. If popward-adopt is `done`, the user's mail has its names
    /// now. Otherwise there is no spool, and the next login tries again.
    pub(crate) fn serve_after_adoption(&mut self, mut session: Session, done: bool) {
        let (id, account) = (session.id, session.account.clone());
        let socket = session.worker_end.take();
        let kept = if done {
            self.state.keep_draft_of(&account.name)
        } else {
            self.state.remove_draft_of(&account.name);
            Ok(())
        };
        self.tell(&SessionsToSupervisor::Adopted(id));
        let started = match kept {
            Ok(()) => {
                let own = self.config.settings.of(&account);
                self.start_worker(id, (&account, &own), Task::Serve, socket)
            }
            Err(error) => {
                self.log_no_worker(id, &account, &NoWorker::State(error));
                None
            }
        };
        if started.is_none() {
            self.not_opened(id, &account);
            self.tell_of_end(&session);
        }
    }

    /// Has a worker finish what a session left. The dotlock of the session stays in place. Returns
    /// whether there is a worker.
    pub(crate) fn finish(&mut self, left: &Session) -> bool {
        let dotlock = left.dotlock;
        left.finishers < FINISHERS_MAX
            && self.start_finisher(left.id, &left.account, dotlock, left.finishers + 1)
    }

    fn start_finisher(
        &mut self,
        session: SessionId,
        account: &Account,
        dotlock: Option<(u64, u64)>,
        finishers: u8,
    ) -> bool {
        let own = self.config.settings.of(account);
        let task = Task::Finish { dotlock };
        let id = self.start_worker(session, (account, &own), task, None);
        let worker = id.and_then(|id| self.workers.get_mut(&id));
        worker
            .map(|worker| worker.session.finishers = finishers)
            .is_some()
    }

    /// Starts workers for what was found at the start, a few at a time.
    pub(crate) fn tend(&mut self) {
        let of_nobody = |session: SessionId| session.front() == NO_FRONT;
        while self.serves() {
            let workers = self.workers.values();
            if workers.filter(|w| of_nobody(w.session.id)).count() >= TENDED_AT_ONCE {
                return;
            }
            let Some(account) = self.to_tend.pop() else {
                return;
            };
            self.tended += 1;
            let id = SessionId::new(NO_FRONT, self.tended);
            self.start_finisher(id, &account, None, 1);
        }
    }

    /// Tells a front and auth that a grant becomes no session.
    fn refuse(&mut self, session: SessionId, account: &Account, too_many: bool) {
        self.not_opened(session, account);
        let no = SessionsToFront::NoSession { session, too_many };
        self.tell_front(session.front(), &no, &[]);
    }

    /// Tells auth that what it granted was no login, so that the next one need not wait for
    /// `auth.login_delay`. This waits for no auth that does not read, because such an auth could
    /// stop this process.
    pub(crate) fn not_opened(&mut self, session: SessionId, account: &Account) {
        let user = account.name.clone();
        self.pace.failed(user.clone(), Instant::now());
        if let Some(newest) = self.auths.values().next_back() {
            let _ = newest.send(&SessionsToAuth::NotOpened { session, user });
        }
    }

    fn log_no_worker(&mut self, id: SessionId, account: &Account, error: &NoWorker) {
        let what = (account.name.clone(), std::mem::discriminant(error));
        let Some(times) = self.said.may_log(what, Instant::now()) else {
            return;
        };
        let fields: &[(&str, &dyn Display)] = &[
            ("session", &id),
            ("user", &account.name),
            ("error", error),
            ("times", &times),
        ];
        let level = match error {
            NoWorker::Refused(Refusal::TooMany | Refusal::Adopting) => Level::Warning,
            _ => Level::Error,
        };
        self.log.write(level, "no worker", fields);
    }

    /// Tells a front and the supervisor that a session has ended.
    pub(crate) fn tell_of_end(&mut self, session: &Session) {
        let id = session.id;
        if id.front() == NO_FRONT {
            return;
        }
        self.tell(&SessionsToSupervisor::Released(id));
        let finished = session.update == Progress::Finished;
        let ended = SessionsToFront::Ended {
            session: id,
            finished,
        };
        if self.tell_front(id.front(), &ended, &[]) || !self.serves() || !session.opens() {
            return;
        }
        // The front that would have written the session's last line is dead.
        let fields: &[(&str, &dyn Display)] = &[
            ("session", &id),
            ("user", &session.account.name),
            ("why", &"its front died"),
        ];
        self.log.write(Level::Notice, "end", fields);
    }
}
