//! Sessions: from a grant to a worker in a front's hands, and from a worker's end to a free spool.

use super::{
    Account, AsFd, ChannelError, ChildId, FrontId, Id, Instant, Level, Monitor, MonitorToAuth,
    MonitorToFront, NO_SPOOL, NOT_FINISHED, NOT_OPENED, PacketBuffer, Process, REST, SessionId,
    Signal, Stage, Task, WaitPidFlag, WaitStatus, Worker, sessions, waitid,
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

/// Whether popward-adopt has done its task, or found no spool. A worker follows.
fn worker_follows(session: &sessions::Session, status: WaitStatus) -> bool {
    let code = |code| [0, i32::from(NO_SPOOL)].contains(&code);
    session.task == Task::Adopt && matches!(status, WaitStatus::Exited(_, with) if code(with))
}

impl Monitor {
    pub(super) fn granted(&mut self, session: SessionId, account: &Account) {
        if let Err(too_many) = self.serve(session, account) {
            self.not_opened(session, account);
            let no = MonitorToFront::NoSession { session, too_many };
            self.tell_front(session.front(), &no);
        }
    }

    /// Hands a front a worker. An error is whether another session of the user is in the way.
    fn serve(&mut self, session: SessionId, account: &Account) -> Result<(), bool> {
        let live = |worker: &Worker| worker.session.id == session;
        self.front(session.front()).ok_or(false)?;
        if self.workers.values().any(live) || self.stage != Stage::Serving {
            return Err(false);
        }
        // Each waits for the spool's locks: one user's many logins must not become everybody's many processes.
        let theirs = |worker: &&Worker| worker.session.account.name == account.name;
        let own = self.config.settings.of(account);
        if self.workers.values().filter(theirs).count() >= own.sessions_per_user as usize {
            self.no_worker(session, account, &NoWorker::TooMany);
            return Err(true);
        }
        // Two adoptions would work in one directory, and the first to end would rename it.
        let adopts = |worker: &Worker| worker.session.task == Task::Adopt;
        if self.workers.values().filter(theirs).any(adopts) {
            self.no_worker(session, account, &NoWorker::Adopting);
            return Err(true);
        }
        if self.is_elsewhere(account, &own) {
            self.no_worker(session, account, &NoWorker::Elsewhere);
            return Err(false);
        }
        let (config, nursery) = (&self.config, &mut self.starter.nursery);
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
        let user = account.name.clone();
        let message = MonitorToFront::Session {
            session,
            user,
            login_delay_s: own.login_delay_s,
        };
        let front = self.front(session.front());
        let sent = front.map(|(id, front)| (id, front.own.send(&message, &[front_end.as_fd()])));
        if let Some((id, Err(error))) = sent {
            self.banish(id, &error);
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
        let moved = |worker: &Worker| {
            let session = &worker.session;
            session.account.name == account.name && !session.is_at(at, &spool)
        };
        self.workers.values().any(moved)
    }

    /// Tells auth that what it granted was no login, so that the next one need not wait for `auth.login_delay`. An auth that
    /// does not read is not waited for: it would have this process in its hand, and all it misses is this.
    fn not_opened(&self, session: SessionId, account: &Account) {
        let user = account.name.clone();
        let auth = self
            .current
            .as_ref()
            .and_then(|current| current.auth.as_ref());
        if let Some(channel) = auth.and_then(|(_, auth)| auth.channel.as_ref()) {
            let _ = channel.send(&MonitorToAuth::NotOpened { session, user });
        }
    }

    /// Takes a worker in. Returns whether it can be watched.
    fn watch_worker(&mut self, started: sessions::Started) -> bool {
        let sessions::Started {
            child,
            log,
            channel,
            session,
        } = started;
        let (id, events) = (self.starter.next_id(), &self.starter.events);
        let child = (session.role(), child, log);
        match Process::adopt(events, id, child, channel.as_fd()) {
            Ok(process) => {
                let worker = Worker {
                    process,
                    channel,
                    session,
                };
                self.workers.insert(id, worker);
                true
            }
            Err(error) => {
                let fields: &[(&str, &dyn std::fmt::Display)] =
                    &[("session", &session.id), ("error", &error)];
                self.log.write(Level::Error, "worker not watched", fields);
                false
            }
        }
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
        let (config, nursery) = (&self.config, &mut self.starter.nursery);
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
            NoWorker::TooMany | NoWorker::Adopting => Level::Warning,
            _ => Level::Error,
        };
        self.log.write(level, "no worker", fields);
    }

    /// Starts workers for what was found at the start, a few at a time.
    pub(super) fn tend(&mut self) {
        let busy = |worker: &&Worker| worker.session.id.front() == NO_FRONT;
        while self.workers.values().filter(busy).count() < TENDED_AT_ONCE {
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
    fn tell_front(&mut self, front: FrontId, message: &MonitorToFront) -> bool {
        let Some((id, front)) = self.front(front) else {
            return false;
        };
        match front.own.send(message, &[]) {
            Ok(()) => return true,
            Err(ChannelError::Closed) => {}
            Err(error) => self.banish(id, &error),
        }
        false
    }

    /// A child has ended.
    pub(super) fn ended(&mut self, id: ChildId, buffer: &mut PacketBuffer) {
        let Some(process) = self.process(id) else {
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
        if let Some(process) = self.process(id) {
            process.reaped = true;
        }
        // Everything that it said before its end counts, for example the rest of a configuration.
        self.read_log(id, buffer, REST);
        self.read_control(id, buffer, REST);
        if let Some(worker) = self.workers.remove(&id) {
            self.starter.events.forget(worker.channel.as_fd());
            self.forget(&worker.process);
            self.report(&worker.process, status, Some(&worker.session));
            self.worker_ended(worker, status);
        } else if let Some((_, process)) = self.leaving.remove(&id) {
            self.forget(&process);
        } else if let Some((_, reading)) = self.reading.take_if(|(reading, _)| *reading == id) {
            self.starter.events.forget(reading.channel.as_fd());
            self.forget(&reading.process);
            if self.reader_ended(&reading, status) {
                self.report(&reading.process, status, None);
            }
            self.reload_if_wanted();
        } else {
            self.part_ended(id, status);
        }
    }

    /// No longer waits for a process that has ended.
    fn forget(&self, process: &Process) {
        self.starter.events.forget(process.log.as_fd());
        self.starter.events.forget(process.child.pidfd.as_fd());
    }

    /// A process of a generation has ended by itself, or was killed.
    fn part_ended(&mut self, id: ChildId, status: WaitStatus) {
        let events = &self.starter.events;
        let rising = self.rising.as_mut();
        let rising = rising.and_then(|(_, rising)| rising.take(id, events));
        let current = self.current.as_mut();
        let current = current.and_then(|current| current.take(id, events));
        let mut old = self.old.iter_mut();
        let old = old.find_map(|old| old.take(id, events));
        let (rises, serves) = (rising.is_some(), current.is_some());
        let Some(process) = rising.or(current).or(old) else {
            return;
        };
        self.forget(&process);
        self.report(&process, status, None);
        if rises {
            let name = process.role.executable();
            self.not_risen(&format_args!("{name} ended before everything was ready"));
        } else if serves {
            self.again_later(process.role, process.since.elapsed());
        }
        self.tidy();
    }

    fn worker_ended(&mut self, worker: Worker, status: WaitStatus) {
        let (session, pid) = (worker.session, worker.process.child.pid);
        if self.stage == Stage::Serving && worker_follows(&session, status) {
            self.remove_dotlock(pid, &session);
            let done = matches!(status, WaitStatus::Exited(_, 0));
            return self.serve_after_adoption(session, done);
        }
        let exited =
            |with: u8| matches!(status, WaitStatus::Exited(_, code) if code == i32::from(with));
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
                self.remove_dotlock(pid, &session);
            }
            self.tell_of_end(&session);
        }
        if self.stage == Stage::Serving {
            self.tend();
        }
    }

    /// Starts the worker, which answers over the socket that the front has already. If popward-adopt is `done`, the user's
    /// mail has its names now. Otherwise there is no spool, and the next login tries again.
    fn serve_after_adoption(&mut self, mut session: sessions::Session, done: bool) {
        let socket = session.worker_end.take();
        let (config, state) = (&self.config, &self.state);
        let nursery = &mut self.starter.nursery;
        let (id, whose) = (session.id, (&session.account, &session.settings));
        let user = &session.account.name;
        let kept = if done {
            state.keep_draft_of(user)
        } else {
            state.remove_draft_of(user);
            Ok(())
        };
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

    fn report(
        &mut self,
        process: &Process,
        status: WaitStatus,
        session: Option<&sessions::Session>,
    ) {
        let how = match status {
            WaitStatus::Exited(_, 0) if matches!(self.stage, Stage::Ending(_)) => return,
            WaitStatus::Exited(_, code)
                if session.is_some() && [0, i32::from(NOT_OPENED)].contains(&code) =>
            {
                return;
            }
            _ if session.is_some_and(|session| worker_follows(session, status)) => return,
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
        if let Some(session) = session {
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
        let finished = session.update == Progress::Finished;
        let ended = MonitorToFront::Ended {
            session: session.id,
            finished,
        };
        if self.tell_front(session.id.front(), &ended) {
            return;
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
