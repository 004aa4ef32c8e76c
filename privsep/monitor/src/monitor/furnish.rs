//! Starting a role, and giving it all that it needs: settings, sockets, keys, certificates, channels to others.

use super::{
    ANSWER, AsFd, ChannelError, ChildId, Duration, Front, FrontId, Instant, KeyId, Level, Link,
    Monitor, MonitorToAuth, MonitorToFront, MonitorToKeys, Process, Rc, Role, StartError, VERSION,
    children, socket_pair,
};

impl Monitor {
    pub(super) fn start_role(&mut self, role: Role) {
        if let Err(error) = self.try_start(role) {
            self.log.write(
                Level::Error,
                "not started",
                &[("process", &role.name()), ("error", &error)],
            );
            self.fail(StartError::Child(format!("{}: {error}", role.executable())));
            self.again_later(role, Duration::ZERO);
        }
    }

    pub(super) fn try_start(&mut self, role: Role) -> Result<(), ChannelError> {
        use popward_sys::spawn::ChildIdentity;
        let account = self.config.accounts.map(|accounts| match role {
            Role::Front(_) => accounts.front,
            Role::Keys => accounts.keys,
            Role::Auth | Role::Worker | Role::Config => accounts.auth,
        });
        let identity = account.map(|(uid, gid)| ChildIdentity {
            uid,
            gid,
            effective_gid: gid,
            groups: Vec::new(),
            keep_chroot: !matches!(role, Role::Auth),
        });
        let (child, sockets) = self
            .nursery
            .start(
                &self.config,
                (role, &[role.executable()]),
                identity.as_ref(),
                &[],
            )
            .map_err(ChannelError::System)?;
        let front = FrontId(self.next_front);
        let control = sockets.control;
        let link = match role {
            Role::Front(_) => {
                self.next_front += 1;
                let channel = children::channel(control).map_err(ChannelError::System)?;
                Link::Front(Front {
                    id: front,
                    channel,
                    ready: false,
                    drained: false,
                })
            }
            Role::Keys => {
                let channel = children::channel(control).map_err(ChannelError::System)?;
                Link::Keys {
                    channel,
                    ready: false,
                }
            }
            Role::Auth | Role::Worker | Role::Config => {
                let channel = children::channel(control).map_err(ChannelError::System)?;
                Link::Auth {
                    channel,
                    ready: false,
                }
            }
        };
        let log = children::log_channel(sockets.log).map_err(ChannelError::System)?;
        let id = self.adopt(Process {
            role,
            child,
            log,
            link: Some(link),
            since: Instant::now(),
            reaped: false,
        })?;
        let furnished = match role {
            Role::Front(_) => self.furnish_front(id),
            Role::Auth => self.furnish_auth(id),
            Role::Keys => self.furnish_keys(id),
            Role::Worker | Role::Config => Ok(()),
        };
        // Whoever died meanwhile: this one lives, and another one is started when it has ended, not beside it.
        if let Err(error) = furnished {
            self.banish(id, &error);
        }
        Ok(())
    }

    pub(super) fn adopt(&mut self, process: Process) -> Result<ChildId, ChannelError> {
        let id = ChildId(self.next_child);
        self.next_child += 1;
        let watched = children::watch(&self.events, id, &process);
        if watched.is_err() {
            process.kill();
        }
        self.processes.insert(id, process);
        watched.map(|()| id).map_err(ChannelError::System)
    }

    pub(super) fn furnish_keys(&mut self, id: ChildId) -> Result<(), ChannelError> {
        let Some(Link::Keys { channel, .. }) = self.link(id) else {
            return Ok(());
        };
        children::send(channel, &self.keys_settings(), &[])?;
        self.send_keys(id);
        for front in self.fronts() {
            self.introduce(front, Role::Keys);
        }
        Ok(())
    }

    pub(super) fn keys_settings(&self) -> MonitorToKeys {
        MonitorToKeys::Settings {
            version: VERSION,
            ticket_ms: self.config.front.tls.ticket_ms,
        }
    }

    /// Sends every key's file. What cannot be sent is logged: at the start the front then lacks its certificate.
    pub(super) fn send_keys(&mut self, id: ChildId) {
        self.keys_due = 0;
        let certificates = Rc::clone(&self.config.certificates);
        for (number, certificate) in (self.first_key..).zip(certificates.iter()) {
            let Some(Link::Keys { channel, .. }) = self.link(id) else {
                return;
            };
            let key = MonitorToKeys::Key(KeyId(number));
            let Err(error) = children::send(channel, &key, &[certificate.key.as_fd()]) else {
                self.keys_due += 1;
                continue;
            };
            self.refused = true;
            let path = &certificate.key_path;
            self.log.write(
                Level::Error,
                "key not loaded",
                &[("file", path), ("error", &error)],
            );
            self.fail(StartError::Child(format!("{path}: {error}")));
        }
    }

    pub(super) fn furnish_auth(&mut self, id: ChildId) -> Result<(), ChannelError> {
        let Some(Link::Auth { channel, .. }) = self.link(id) else {
            return Ok(());
        };
        let settings = self.config.for_auth();
        settings
            .iter()
            .try_for_each(|message| children::send(channel, message, &[]))?;
        self.asked.push_back((Instant::now() + ANSWER, None));
        for front in self.fronts() {
            self.introduce(front, Role::Auth);
        }
        Ok(())
    }

    pub(super) fn furnish_front(&mut self, id: ChildId) -> Result<(), ChannelError> {
        self.send_front_settings(id)?;
        let Some(Process {
            link: Some(Link::Front(front)),
            ..
        }) = self.processes.get(&id)
        else {
            return Ok(());
        };
        for listener in &self.listeners {
            let message = MonitorToFront::Listener {
                tls: listener.tls,
                headers: listener.headers,
            };
            children::send(&front.channel, &message, &[listener.socket.as_fd()])?;
        }
        self.send_certificates(id)?;
        self.introduce(id, Role::Auth);
        self.introduce(id, Role::Keys);
        match self.link(id) {
            Some(Link::Front(front)) => children::send(&front.channel, &MonitorToFront::Serve, &[]),
            _ => Ok(()),
        }
    }

    pub(super) fn send_front_settings(&mut self, id: ChildId) -> Result<(), ChannelError> {
        let mut settings = self.config.front.clone();
        let Some(Link::Front(front)) = self.link(id) else {
            return Ok(());
        };
        settings.front = front.id;
        children::send(
            &front.channel,
            &MonitorToFront::Settings(Box::new(settings)),
            &[],
        )
    }

    pub(super) fn send_certificates(&mut self, id: ChildId) -> Result<(), ChannelError> {
        let mut set = Vec::new();
        for (number, certificate) in (self.first_key..).zip(self.config.certificates.iter()) {
            // Not a part of a set: fronts go on with the one that they have.
            let Some(key) = self.keys.get(&number) else {
                return Ok(());
            };
            set.push((key.clone(), &certificate.chain));
        }
        let count = set.len();
        let authorities = self.config.client_ca.as_ref().filter(|_| count > 0);
        let Some(Link::Front(front)) = self.link(id) else {
            return Ok(());
        };
        if let Some(file) = authorities {
            let message = MonitorToFront::ClientAuthorities;
            children::send(&front.channel, &message, &[file.as_fd()])?;
        }
        for (place, (key, file)) in set.into_iter().enumerate() {
            let message = MonitorToFront::Certificate {
                key,
                last: place + 1 == count,
            };
            children::send(&front.channel, &message, &[file.as_fd()])?;
        }
        Ok(())
    }

    /// Gives a front and `to` (auth or keys) a channel to each other. Who does not take its end is ended, and not the other.
    pub(super) fn introduce(&mut self, front: ChildId, to: Role) {
        if let Err((whose, error)) = self.acquaint(front, to) {
            self.banish(whose, &error);
        }
    }

    /// An error is whose it is, too.
    fn acquaint(&self, front: ChildId, to: Role) -> Result<(), (ChildId, ChannelError)> {
        let of_front = |error| (front, error);
        let (front_end, other_end) =
            socket_pair().map_err(|errno| of_front(ChannelError::System(errno)))?;
        let Some(Link::Front(Front { id, channel, .. })) = self.link(front) else {
            return Ok(());
        };
        let mut others = self.processes.iter().filter(|(_, other)| other.role == to);
        let Some((other, process)) = others.next() else {
            return Ok(());
        };
        let (sent, answer) = match &process.link {
            Some(Link::Auth { channel: auth, .. }) => (
                children::send(auth, &MonitorToAuth::Front(*id), &[other_end.as_fd()]),
                MonitorToFront::Auth,
            ),
            Some(Link::Keys { channel: keys, .. }) => (
                children::send(keys, &MonitorToKeys::Front(*id), &[other_end.as_fd()]),
                MonitorToFront::Keys,
            ),
            // It is dead: when it is started again, it is introduced to all fronts.
            _ => return Ok(()),
        };
        sent.map_err(|error| (*other, error))?;
        children::send(channel, &answer, &[front_end.as_fd()]).map_err(of_front)
    }

    pub(super) fn link(&self, id: ChildId) -> Option<&Link> {
        self.processes.get(&id)?.link.as_ref()
    }

    pub(super) fn fronts(&self) -> Vec<ChildId> {
        let front = |process: &Process| matches!(process.link, Some(Link::Front(_)));
        self.processes
            .iter()
            .filter(|(_, process)| front(process))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn front_child(&self, wanted: FrontId) -> Option<ChildId> {
        let is =
            |process: &Process| matches!(&process.link, Some(Link::Front(f)) if f.id == wanted);
        self.processes
            .iter()
            .find(|(_, process)| is(process))
            .map(|(id, _)| *id)
    }
}
