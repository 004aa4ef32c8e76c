//! Sessions: from a grant to a worker in a front's hands, and from a worker's end to a free spool.

use super::{
    Account, AsFd, ChannelError, ChildId, FrontId, Id, Instant, Level, Link, Monitor,
    MonitorToFront, Process, Role, SessionId, Signal, Stage, StartError, Task, WaitPidFlag,
    WaitStatus, children, sessions, waitid,
};
use crate::config::settings::Settings;
use crate::sessions::{NoWorker, Progress};

/// Of sessions that no client has: fronts are counted from 1.
const NO_FRONT: FrontId = FrontId(0);

/// How many workers one after the other try to finish what one left, while its dotlock stays in place.
const FINISHERS_MAX: u8 = 3;

/// How many workers at once look after what was found at the start.
const TENDED_AT_ONCE: usize = 4;

impl Monitor {
    pub(super) fn granted(&mut self, session: SessionId, account: &Account) {
        let live = |process: &Process| matches!(&process.link, Some(Link::Worker { session: s, .. }) if s.id == session);
        let Some(front) = self.front_child(session.front()) else {
            return;
        };
        let no = |too_many| MonitorToFront::NoSession { session, too_many };
        if self.processes.values().any(live) || self.stage != Stage::Serving {
            self.tell_front(front, &no(false));
            return;
        }
        // Each waits for the spool's locks: one user's many logins must not become everybody's many processes.
        let theirs = |process: &&Process| matches!(&process.link, Some(Link::Worker { session: s, .. }) if s.account.name == account.name);
        let own = self.config.settings.of(account);
        if self.processes.values().filter(theirs).count() >= own.sessions_per_user as usize {
            self.no_worker(session, account, &NoWorker::TooMany);
            self.tell_front(front, &no(true));
            return;
        }
        let started = sessions::start(
            &self.config,
            &mut self.nursery,
            &self.state,
            session,
            (account, &own),
            Task::Serve,
        );
        match started {
            Ok(started) => self.hand_over(front, started, account),
            Err(error) => {
                self.no_worker(session, account, &error);
                self.tell_front(front, &no(false));
            }
        }
    }

    fn hand_over(&mut self, front: ChildId, mut started: sessions::Started, account: &Account) {
        let id = started.session.id;
        let front_end = started.session.front_end.take();
        let login_delay_s = started.session.settings.login_delay_s;
        let watched = self.watch_worker(started);
        let Some(front_end) = front_end.filter(|_| watched) else {
            let none = MonitorToFront::NoSession {
                session: id,
                too_many: false,
            };
            self.tell_front(front, &none);
            return;
        };
        let Some(Link::Front(to)) = self.link(front) else {
            return;
        };
        let sent = children::send(
            &to.channel,
            &MonitorToFront::Session {
                session: id,
                user: account.name.clone(),
                login_delay_s,
            },
            &[front_end.as_fd()],
        );
        if let Err(error) = sent {
            self.banish(front, &error);
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
                })
            });
        if let Err(error) = adopted {
            self.log.own(
                Level::Error,
                "worker not watched",
                &[("session", &id), ("error", &error)],
            );
            return false;
        }
        true
    }

    /// Has a worker finish what `finishers` others left, with the dotlock of the last one still in place. Returns whether
    /// there is one.
    fn finish(
        &mut self,
        id: SessionId,
        whose: (&Account, &Settings),
        dotlock: Option<(u64, u64)>,
        finishers: u8,
    ) -> bool {
        let task = Task::Finish { dotlock };
        let (config, nursery) = (&self.config, &mut self.nursery);
        match sessions::start(config, nursery, &self.state, id, whose, task) {
            Ok(mut started) => {
                started.session.finishers = finishers + 1;
                self.watch_worker(started)
            }
            Err(error) => {
                self.no_worker(id, whose.0, &error);
                false
            }
        }
    }

    fn no_worker(&mut self, id: SessionId, account: &Account, error: &NoWorker) {
        let fields: &[(&str, &dyn std::fmt::Display)] =
            &[("session", &id), ("user", &account.name), ("error", error)];
        let level = match error {
            NoWorker::TooMany => Level::Warning,
            _ => Level::Error,
        };
        self.log.own(level, "no worker", fields);
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
            self.finish(id, (&account, &own), None, 0);
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
                self.log.own(Level::Error, "waitid", &[("error", &errno)]);
                return;
            }
        };
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
        self.report(&process, status);
        match process.link {
            Some(Link::Worker { session, .. }) => {
                let whole = matches!(status, WaitStatus::Exited(_, 0));
                let broken = session.is_torn() && !whole;
                // At the very end the next start finishes it, and until then nobody else should read what is half moved.
                let later = broken && matches!(self.stage, Stage::Ending(_));
                let whose = (&session.account, &session.settings);
                let (dotlock, finishers) = (session.dotlock, session.finishers);
                let now = broken && !later && finishers < FINISHERS_MAX;
                if !(now && self.finish(session.id, whose, dotlock, finishers)) {
                    if !later {
                        self.remove_dotlock(process.child.pid, &session);
                    }
                    self.tell_of_end(&session);
                }
                if self.stage == Stage::Serving {
                    self.tend();
                }
            }
            _ if process.role == Role::Worker => {}
            _ => {
                let name = process.role.executable();
                self.fail(StartError::Child(format!(
                    "{name} ended before everything was ready"
                )));
                self.again_later(process.role, process.since.elapsed());
            }
        }
    }

    pub(super) fn report(&mut self, process: &Process, status: WaitStatus) {
        let how = match status {
            WaitStatus::Exited(_, 0) if matches!(self.stage, Stage::Ending(_)) => return,
            WaitStatus::Exited(_, 0) if process.role == Role::Worker => return,
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
        self.log.own(Level::Error, "process died", &fields);
    }

    fn remove_dotlock(&mut self, pid: u32, session: &sessions::Session) {
        if let Some(Err(error)) = session.left_behind(pid).map(|lock| lock.remove()) {
            let fields: &[(&str, &dyn std::fmt::Display)] = &[
                ("session", &session.id),
                ("user", &session.account.name),
                ("error", &error),
            ];
            self.log.own(Level::Error, "dotlock not removed", fields);
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
        if self.stage != Stage::Serving || session.task != Task::Serve {
            return;
        }
        // Who would have written the session's last line is dead.
        let fields: &[(&str, &dyn std::fmt::Display)] = &[
            ("session", &session.id),
            ("user", &session.account.name),
            ("why", &"its front died"),
        ];
        self.log.own(Level::Notice, "end", fields);
    }
}
