//! Sessions: from a grant to a worker in a front's hands, and from a worker's end to a free spool.

use super::{
    Account, AsFd, ChannelError, ChildId, Id, Instant, Level, Link, Monitor, MonitorToFront,
    Process, Role, SessionId, Signal, Stage, StartError, WaitPidFlag, WaitStatus, children,
    sessions, waitid,
};

impl Monitor {
    pub(super) fn granted(&mut self, session: SessionId, account: &Account) {
        let live = |process: &Process| matches!(&process.link, Some(Link::Worker { session: s, .. }) if s.id == session);
        let Some(front) = self.front_child(session.front()) else {
            return;
        };
        if self.processes.values().any(live) || self.stage != Stage::Serving {
            return self.tell_front(front, &MonitorToFront::NoSession(session));
        }
        let started = sessions::start(
            &self.config,
            &mut self.nursery,
            &self.state,
            session,
            account,
        );
        match started {
            Ok(started) => self.hand_over(front, started),
            Err(error) => {
                let fields: &[(&str, &dyn std::fmt::Display)] = &[
                    ("session", &session),
                    ("user", &account.name),
                    ("error", &error),
                ];
                self.log.own(Level::Error, "no worker", fields);
                self.tell_front(front, &MonitorToFront::NoSession(session));
            }
        }
    }

    pub(super) fn hand_over(&mut self, front: ChildId, started: sessions::Started) {
        let sessions::Started {
            child,
            log,
            channel,
            front_end,
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
            return self.tell_front(front, &MonitorToFront::NoSession(id));
        }
        let Some(Link::Front(to)) = self.link(front) else {
            return;
        };
        let sent = children::send(
            &to.channel,
            &MonitorToFront::Session(id),
            &[front_end.as_fd()],
        );
        if let Err(error) = sent {
            self.banish(front, &error);
        }
    }

    pub(super) fn tell_front(&mut self, front: ChildId, message: &MonitorToFront) {
        let Some(Link::Front(to)) = self.link(front) else {
            return;
        };
        match children::send(&to.channel, message, &[]) {
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => self.banish(front, &error),
        }
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
            Some(Link::Worker { session, .. }) => self.clear_away(process.child.pid, &session),
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
            fields.push(("user", &session.user));
        }
        self.log.own(Level::Error, "process died", &fields);
    }

    pub(super) fn clear_away(&mut self, pid: u32, session: &sessions::Session) {
        if let Some(Err(error)) = session.left_behind(pid).map(|lock| lock.remove()) {
            let fields: &[(&str, &dyn std::fmt::Display)] = &[
                ("session", &session.id),
                ("user", &session.user),
                ("error", &error),
            ];
            self.log.own(Level::Error, "dotlock not removed", fields);
        }
        if let Some(front) = self.front_child(session.id.front()) {
            return self.tell_front(front, &MonitorToFront::Ended(session.id));
        }
        if self.stage != Stage::Serving {
            return;
        }
        // Who would have written the session's last line is dead.
        let fields: &[(&str, &dyn std::fmt::Display)] = &[
            ("session", &session.id),
            ("user", &session.user),
            ("why", &"its front died"),
        ];
        self.log.own(Level::Notice, "end", fields);
    }
}
