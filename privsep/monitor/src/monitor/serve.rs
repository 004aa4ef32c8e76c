//! Sessions: from a grant to a worker in a front's hands, and from a worker's end to a free spool.

use super::{
    Account, AsFd, ChannelError, ChildId, FrontId, Id, Instant, Level, Link, Monitor,
    MonitorToAuth, MonitorToFront, NOT_FINISHED, NOT_OPENED, Process, Role, SessionId, Signal,
    Stage, StartError, Task, WaitPidFlag, WaitStatus, children, sessions, waitid,
};
use crate::sessions::{NoWorker, Progress};
use crate::spool;
use popward_proto::settings::Settings;

/// Of sessions that no client has: fronts are counted from 1.
const NO_FRONT: FrontId = FrontId(0);

/// How many workers one after the other try to finish what one left, while its dotlock stays in place.
const FINISHERS_MAX: u8 = 3;

/// How many workers at once look after what was found at the start.
const TENDED_AT_ONCE: usize = 4;

/// Whether this task opens a maildrop for a client.
fn opens(task: Task) -> bool {
    matches!(task, Task::Serve | Task::Adopt)
}

/// Whether popward-adopt did its task, so that a worker is to follow.
fn is_adopted(session: &sessions::Session, status: WaitStatus) -> bool {
    session.task == Task::Adopt && matches!(status, WaitStatus::Exited(_, 0))
}

impl Monitor {
    pub(super) fn granted(&mut self, session: SessionId, account: &Account) {
        if let Err(too_many) = self.serve(session, account) {
            self.not_opened(session, account);
            if let Some(front) = self.front_child(session.front()) {
                let no = MonitorToFront::NoSession { session, too_many };
                self.tell_front(front, &no);
            }
        }
    }

    /// Hands a front a worker. An error is whether the user has too many.
    fn serve(&mut self, session: SessionId, account: &Account) -> Result<(), bool> {
        let live = |process: &Process| matches!(&process.link, Some(Link::Worker { session: s, .. }) if s.id == session);
        let front = self.front_child(session.front()).ok_or(false)?;
        if self.processes.values().any(live) || self.stage != Stage::Serving {
            return Err(false);
        }
        // Each waits for the spool's locks: one user's many logins must not become everybody's many processes.
        let theirs = |process: &&Process| matches!(&process.link, Some(Link::Worker { session: s, .. }) if s.account.name == account.name);
        let own = self.config.settings.of(account);
        if self.processes.values().filter(theirs).count() >= own.sessions_per_user as usize {
            self.no_worker(session, account, &NoWorker::TooMany);
            return Err(true);
        }
        if self.is_elsewhere(account, &own) {
            self.no_worker(session, account, &NoWorker::Elsewhere);
            return Err(false);
        }
        let (config, nursery) = (&self.config, &mut self.nursery);
        let whose = (account, &own);
        let state = &self.state;
        let started = sessions::start(config, nursery, state, session, whose, Task::Serve, None);
        let mut started = started.map_err(|error| {
            self.no_worker(session, account, &error);
            false
        })?;
        let front_end = started.session.front_end.take();
        let watched = self.watch_worker(started);
        let front_end = front_end.filter(|_| watched).ok_or(false)?;
        if let Some(Link::Front(to)) = self.link(front) {
            let user = account.name.clone();
            let message = MonitorToFront::Session {
                session,
                user,
                login_delay_s: own.login_delay_s,
            };
            if let Err(error) = children::send(&to.channel, &message, &[front_end.as_fd()]) {
                self.banish(front, &error);
            }
        }
        Ok(())
    }

    /// Whether they have a session with another spool than is theirs now. A state directory is for one spool at a time: the
    /// locks of two would not keep its journals apart.
    fn is_elsewhere(&self, account: &Account, own: &Settings) -> bool {
        let Ok((directory, spool)) = spool::place(&own.spool, account) else {
            return false;
        };
        let at = directory.as_path();
        let moved = |process: &Process| matches!(&process.link, Some(Link::Worker { session, .. }) if session.account.name == account.name && !session.is_at(at, &spool));
        self.processes.values().any(moved)
    }

    /// Tells auth that what it granted was no login, so that the next one need not wait for `auth.login_delay`. An auth that
    /// does not read is not waited for: it would have this process in its hand, and all it misses is this.
    fn not_opened(&self, session: SessionId, account: &Account) {
        let user = account.name.clone();
        if let Some((_, channel)) = self.auth() {
            let _ = channel.send(&MonitorToAuth::NotOpened { session, user });
        }
    }

    fn auth(&self) -> Option<(ChildId, &children::AuthChannel)> {
        self.processes
            .iter()
            .find_map(|(id, process)| match &process.link {
                Some(Link::Auth { channel, .. }) => Some((*id, channel)),
                _ => None,
            })
    }

    /// Returns whether auth has been told; `None`: there is none.
    pub(super) fn tell_auth(&mut self, messages: &[MonitorToAuth]) -> Option<bool> {
        let (id, channel) = self.auth()?;
        let mut all = messages.iter();
        let sent = all.try_for_each(|message| children::send(channel, message, &[]));
        if let Err(error) = &sent {
            self.banish(id, error);
        }
        Some(sent.is_ok())
    }

    /// Takes a worker in. Returns whether it can be watched.
    fn watch_worker(&mut self, started: sessions::Started) -> bool {
        let sessions::Started {
            child,
            log,
            channel,
            session,
        } = started;
        let id = session.id;
        let link = Some(Link::Worker { channel, session });
        let adopted = children::log_channel(log)
            .map_err(ChannelError::System)
            .and_then(|log| {
                self.adopt(Process {
                    role: Role::Worker,
                    child,
                    log,
                    link,
                    since: Instant::now(),
                    reaped: false,
                })
            });
        if let Err(error) = adopted {
            self.log.write(
                Level::Error,
                "worker not watched",
                &[("session", &id), ("error", &error)],
            );
            return false;
        }
        true
    }

    /// Has a worker finish what a session left, with the dotlock of the last one still in place. Returns whether there is one.
    fn finish(&mut self, left: &sessions::Session) -> bool {
        left.finishers < FINISHERS_MAX
            && self.start_finisher(
                left.id,
                &left.account,
                &left.settings,
                left.dotlock,
                left.finishers + 1,
            )
    }

    fn start_finisher(
        &mut self,
        id: SessionId,
        account: &Account,
        own: &Settings,
        dotlock: Option<(u64, u64)>,
        finishers: u8,
    ) -> bool {
        let task = Task::Finish { dotlock };
        let (config, nursery) = (&self.config, &mut self.nursery);
        match sessions::start(config, nursery, &self.state, id, (account, own), task, None) {
            Ok(mut started) => {
                started.session.finishers = finishers;
                self.watch_worker(started)
            }
            Err(error) => {
                let fields: &[(&str, &dyn std::fmt::Display)] =
                    &[("session", &id), ("user", &account.name), ("error", &error)];
                self.log
                    .write(Level::Error, "no worker to finish an update", fields);
                false
            }
        }
    }

    fn no_worker(&mut self, id: SessionId, account: &Account, error: &NoWorker) {
        let what = (account.name.clone(), std::mem::discriminant(error));
        let Some(times) = self.said.may_log(what, Instant::now()) else {
            return;
        };
        let fields: &[(&str, &dyn std::fmt::Display)] = &[
            ("session", &id),
            ("user", &account.name),
            ("error", error),
            ("times", &times),
        ];
        let level = match error {
            NoWorker::TooMany => Level::Warning,
            _ => Level::Error,
        };
        self.log.write(level, "no worker", fields);
    }

    /// Starts workers for what was found at the start, a few at a time.
    pub(super) fn tend(&mut self) {
        let busy = |process: &&Process| matches!(&process.link, Some(Link::Worker { session, .. }) if session.id.front() == NO_FRONT);
        while self.processes.values().filter(busy).count() < TENDED_AT_ONCE {
            let Some(account) = self.to_tend.pop() else {
                return;
            };
            self.tended += 1;
            let id = SessionId::new(NO_FRONT, self.tended);
            let own = self.config.settings.of(&account);
            self.start_finisher(id, &account, &own, None, 1);
        }
    }

    /// Returns whether there is a front that hears it.
    pub(super) fn tell_front(&mut self, front: ChildId, message: &MonitorToFront) -> bool {
        let Some(Link::Front(to)) = self.link(front) else {
            return false;
        };
        match children::send(&to.channel, message, &[]) {
            Ok(()) => return true,
            Err(ChannelError::Closed) => {}
            Err(error) => self.banish(front, &error),
        }
        false
    }

    pub(super) fn ended(&mut self, id: ChildId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let status = match waitid(Id::PIDFd(process.child.pidfd.as_fd()), options) {
            Ok(WaitStatus::StillAlive) => return,
            Ok(status) => status,
            Err(errno) => {
                // It has ended all the same: by a signal of which the library does not know the name.
                self.log.write(Level::Error, "waitid", &[("error", &errno)]);
                WaitStatus::Signaled(nix::unistd::Pid::from_raw(0), Signal::SIGKILL, false)
            }
        };
        if let Some(process) = self.processes.get_mut(&id) {
            process.reaped = true;
        }
        // What it still said: in a bounded number of turns, since nobody can add to it.
        self.read_log(id);
        self.read_control(id);
        let Some(process) = self.processes.remove(&id) else {
            return;
        };
        if let Some(link) = &process.link {
            self.events.forget(link.as_fd());
        }
        self.events.forget(process.log.as_fd());
        self.events.forget(process.child.pidfd.as_fd());
        if process.role == Role::Config && !self.reader_ended(id, status) {
            return;
        }
        self.report(&process, status);
        match process.link {
            Some(Link::Worker { session, .. })
                if self.stage == Stage::Serving && is_adopted(&session, status) =>
            {
                self.remove_dotlock(process.child.pid, &session);
                self.serve_adopted(session);
            }
            Some(Link::Worker { session, .. }) => {
                let exited = |with: u8| matches!(status, WaitStatus::Exited(_, code) if code == i32::from(with));
                if opens(session.task) && (exited(NOT_OPENED) || exited(NOT_FINISHED)) {
                    self.not_opened(session.id, &session.account);
                }
                let torn = session.is_torn(status);
                // Who came to finish it and could not has no successor; who died has.
                let could = opens(session.task) || !matches!(status, WaitStatus::Exited(..));
                let now = torn && could && !matches!(self.stage, Stage::Ending(_));
                if !(now && self.finish(&session)) {
                    // Nobody should read what is half moved: the next login, or the next start, takes the dotlock of a dead
                    // process away and finishes it.
                    if !torn {
                        self.remove_dotlock(process.child.pid, &session);
                    }
                    self.tell_of_end(&session);
                }
                if self.stage == Stage::Serving {
                    self.tend();
                }
            }
            _ if [Role::Worker, Role::Config].contains(&process.role) => {}
            _ => {
                if process.role == Role::Auth {
                    while !self.asked.is_empty() {
                        self.auth_answered(Some("auth died"));
                    }
                }
                let name = process.role.executable();
                self.fail(StartError::Child(format!(
                    "{name} ended before everything was ready"
                )));
                self.again_later(process.role, process.since.elapsed());
            }
        }
    }

    /// The user's mail has its names now. Starts the worker, which answers over the socket that the front has already.
    fn serve_adopted(&mut self, mut session: sessions::Session) {
        let socket = session.worker_end.take();
        let (config, nursery, state) = (&self.config, &mut self.nursery, &self.state);
        let (id, whose) = (session.id, (&session.account, &session.settings));
        let kept = state.keep_draft_of(&session.account.name);
        let started = kept
            .map_err(NoWorker::State)
            .and_then(|()| sessions::start(config, nursery, state, id, whose, Task::Serve, socket));
        let watched = match started {
            Ok(started) => self.watch_worker(started),
            Err(error) => {
                self.no_worker(id, &session.account, &error);
                false
            }
        };
        if !watched {
            self.not_opened(id, &session.account);
            self.tell_of_end(&session);
        }
    }

    pub(super) fn report(&mut self, process: &Process, status: WaitStatus) {
        let how = match status {
            WaitStatus::Exited(_, 0) if matches!(self.stage, Stage::Ending(_)) => return,
            WaitStatus::Exited(_, code)
                if process.role == Role::Worker && [0, i32::from(NOT_OPENED)].contains(&code) =>
            {
                return;
            }
            WaitStatus::Exited(_, code) => format!("exit status {code}"),
            WaitStatus::Signaled(_, Signal::SIGSYS, _) => {
                "a system call that its filter forbids".into()
            }
            WaitStatus::Signaled(_, signal, _) => signal.to_string(),
            other => format!("{other:?}"),
        };
        let origin = process.origin();
        let life = process.since.elapsed().as_secs();
        let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![
            ("process", &origin.role),
            ("pid", &origin.pid),
            ("of", &how),
            ("seconds", &life),
        ];
        if let Some(Link::Worker { session, .. }) = &process.link {
            fields.push(("session", &session.id));
            fields.push(("user", &session.account.name));
        }
        self.log.write(Level::Error, "process died", &fields);
    }

    fn remove_dotlock(&mut self, pid: u32, session: &sessions::Session) {
        if let Some(Err(error)) = session.left_behind(pid).map(|lock| lock.remove()) {
            let fields: &[(&str, &dyn std::fmt::Display)] = &[
                ("session", &session.id),
                ("user", &session.account.name),
                ("error", &error),
            ];
            self.log.write(Level::Error, "dotlock not removed", fields);
        }
    }

    fn tell_of_end(&mut self, session: &sessions::Session) {
        if let Some(front) = self.front_child(session.id.front()) {
            let finished = session.update == Progress::Finished;
            let ended = MonitorToFront::Ended {
                session: session.id,
                finished,
            };
            if self.tell_front(front, &ended) {
                return;
            }
        }
        if self.stage != Stage::Serving || !opens(session.task) {
            return;
        }
        // Who would have written the session's last line is dead.
        let fields: &[(&str, &dyn std::fmt::Display)] = &[
            ("session", &session.id),
            ("user", &session.account.name),
            ("why", &"its front died"),
        ];
        self.log.write(Level::Notice, "end", fields);
    }
}
