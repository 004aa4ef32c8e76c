//! Auth's event loop: it takes messages from the monitor and the fronts, and verdicts from threads
//! and conversations.
//!
//! No check runs here. A check ends with a grant to sessions, or with a refusal to the front
//! after a whole number of failure delays. `login` holds the steps of a login,
//! `service/checking.rs` starts a check, and `service/outcome.rs` acts on its verdict.

mod checking;
mod generations;
mod handover;
mod outcome;
mod state;
mod tasks;

pub(crate) use state::Auth;

use crate::confinement;
use crate::login::{Due, Evidence, NotBegun};
use crate::passwd_file;
use crate::policy::admission::AdmissionRules;
use crate::trusted_file;
use generations::{Predecessor, Successor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::VERSION;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::account_selector::TABLES_MAX;
use popward_proto::auth::{AuthPhase, AuthRefusal, FrontToAuth};
use popward_proto::auth_sessions::SessionsToAuth;
use popward_proto::bounded::{AbsolutePath, Text};
use popward_proto::monitor_auth::{
    AccountSource, AuthSettings, AuthToMonitor, MonitorToAuth, TokenSource,
};
use popward_proto::permit::{OUT_OF_PHASE, Refused};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use state::{Front, OlderMonitor, Sessions, Settings};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most older monitors at once.
const OLDER_MAX: usize = 16;

/// Most fronts at once, including fronts that are ending.
const FRONTS_MAX: usize = 256;

/// The error for a message that no honest front sends.
const FRONT_BROKE_RULES: ChannelError = ChannelError::Refused(Refused {
    kind: "this session's message",
    why: OUT_OF_PHASE,
});

impl Auth {
    /// Runs until the channel to the monitor ends: with `Closed` if the monitor closed it,
    /// otherwise with the rule that the monitor broke.
    pub(crate) fn serve(&mut self) -> Result<(), ChannelError> {
        let mut buffer = PacketBuffer::for_messages();
        loop {
            let heard = self.heard_fronts().len();
            let ready = self.wait()?;
            // Monitors first: one may say that another auth is still to hand over what it
            // remembers. Before that, no front is heard.
            while is_readable(self.monitor.as_fd()) {
                self.hear_monitor(&mut buffer)?;
            }
            self.hear_older_monitors(&mut buffer);
            self.hear_sessions(&mut buffer);
            self.hear_predecessor(&mut buffer);
            let heard = heard.min(self.heard_fronts().len());
            let fronts = &ready[2..][..heard];
            // In reverse order, because a removal moves only the fronts behind it.
            for place in (0..fronts.len()).rev().filter(|place| fronts[*place]) {
                if let Err(error) = self.hear_front(place, &mut buffer) {
                    let (gone, _) = self.fronts.remove(place);
                    self.logins.keep(|session| session.front() != gone);
                    if error != ChannelError::Closed {
                        self.log
                            .warning(None, "a front's channel ended", &[("error", &error)]);
                        // The front still runs, and every login there would fail now. So the
                        // monitor ends it.
                        self.tell_monitor_of(gone, &AuthToMonitor::BrokeRules(gone))?;
                    }
                }
            }
            let mut verdicts = self.conversations.proceed(&mut buffer);
            verdicts.extend(self.hashing.verdicts());
            for (login_id, verdict) in verdicts {
                self.conclude(login_id, verdict)?;
            }
            self.handle_due()?;
            self.hand_over()?;
        }
    }

    /// Waits for an event. Returns which of these are ready, in this order: the monitor, the
    /// threads, each front, each conversation.
    fn wait(&self) -> Result<Vec<bool>, ChannelError> {
        let next = self.logins.next().into_iter();
        let (successor, predecessor) = (self.successor.as_ref(), self.predecessor.as_ref());
        let next = next
            .chain(self.conversations.next())
            .chain(successor.and_then(Successor::next))
            .chain(self.settles().filter(|at| *at > Instant::now()))
            .chain(predecessor.and_then(Predecessor::awaited))
            .min();
        let wait = next.map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::from(1000u16))
        });
        let own = [self.monitor.as_fd(), self.hashing.as_fd()];
        let fronts = self.heard_fronts().iter().map(|(_, front)| front.as_fd());
        let mut ends: Vec<_> = own
            .into_iter()
            .chain(fronts)
            .chain(self.conversations.descriptors())
            .chain(predecessor.map(Predecessor::as_fd))
            .chain(self.older_monitors.iter().map(|it| it.channel.as_fd()))
            .chain(self.all_sessions().map(AsFd::as_fd))
            .map(|end| PollFd::new(end, PollFlags::POLLIN))
            .collect();
        let told = successor.and_then(Successor::waits);
        ends.extend(told.map(|end| PollFd::new(end, PollFlags::POLLOUT)));
        match poll(&mut ends, wait) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ChannelError::System(errno)),
        }
        Ok(ends.iter().map(|end| end.any() == Some(true)).collect())
    }

    /// The fronts whose messages are read. None until the old auth has handed over.
    fn heard_fronts(&self) -> &[(FrontId, Front)] {
        let count = if self.awaits_predecessor() {
            0
        } else {
            self.fronts.len()
        };
        &self.fronts[..count]
    }

    /// Handles what older monitors have said. One that has ended or broken the rules is not heard
    /// any more.
    fn hear_older_monitors(&mut self, buffer: &mut PacketBuffer) {
        let mut older = std::mem::take(&mut self.older_monitors);
        older.retain_mut(|monitor| {
            loop {
                match monitor.channel.receive(buffer) {
                    Ok((message, mut files)) => {
                        if let MonitorToAuth::Front(front) = &message {
                            monitor.fronts.push(*front);
                        }
                        if !self.heed(message, files.pop()) {
                            return false;
                        }
                    }
                    Err(ChannelError::WouldBlock) => return true,
                    Err(_) => return false,
                }
            }
        });
        self.older_monitors = older;
    }

    /// Handles a message that every monitor may send. Returns false if it is another one.
    fn heed(&mut self, message: MonitorToAuth, descriptor: Option<OwnedFd>) -> bool {
        match (message, descriptor) {
            (MonitorToAuth::Front(id), Some(socket)) if self.fronts.len() < FRONTS_MAX => {
                let front = Channel::new(socket, AuthPhase::Serving);
                if front.set_nonblocking().is_ok() {
                    self.fronts.push((id, front));
                }
            }
            (MonitorToAuth::Predecessor, Some(socket)) => match Predecessor::new(socket) {
                Ok(predecessor) => self.predecessor = Some(predecessor),
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    }

    /// The channels to sessions: the monitor's own and those of older monitors.
    fn all_sessions(&self) -> impl Iterator<Item = &Sessions> {
        let older = self
            .older_monitors
            .iter()
            .filter_map(|it| it.sessions.as_ref());
        self.sessions.iter().chain(older)
    }

    /// Handles what sessions has said. One that has ended or broken the rules is not heard any more.
    fn hear_sessions(&mut self, buffer: &mut PacketBuffer) {
        let older = self.older_monitors.iter_mut().map(|it| &mut it.sessions);
        let mut not_opened = Vec::new();
        for sessions in older.chain([&mut self.sessions]) {
            while let Some(channel) = sessions.as_mut().filter(|it| is_readable(it.as_fd())) {
                match channel.receive(buffer) {
                    Ok((message, _)) => not_opened.push(message),
                    Err(ChannelError::WouldBlock) => break,
                    Err(_) => *sessions = None,
                }
            }
        }
        for SessionsToAuth::NotOpened { session, user } in not_opened {
            // The auth before this one may have granted the session: its word comes first.
            self.hear_predecessor(buffer);
            self.history.intervals.take_back(&user, session);
        }
    }

    /// Handles one message from the monitor.
    fn hear_monitor(&mut self, buffer: &mut PacketBuffer) -> Result<(), ChannelError> {
        let (message, mut descriptors) = self.monitor.receive(buffer)?;
        match (message, descriptors.pop()) {
            (MonitorToAuth::Settings { version, settings }, _) if version == VERSION => {
                let (configured, delays) = (*settings, std::mem::take(&mut self.delays));
                let admission = usable(&configured)
                    .and_then(|()| AdmissionRules::load(configured.admission.clone(), delays));
                let admission = match admission {
                    Ok(admission) => admission,
                    Err(why) => {
                        let why = Text::truncated(&why);
                        self.monitor.send(&AuthToMonitor::Unusable(why))?;
                        // What the monitor has sent since is for an auth that serves. If this process
                        // ended now, the unread messages would cost the monitor the last one.
                        let hung_up = PollFd::new(self.monitor.as_fd(), PollFlags::empty());
                        let _ = poll(&mut [hung_up], PollTimeout::NONE);
                        return Err(ChannelError::Closed);
                    }
                };
                self.warn_of_lines(&configured);
                if let Err(error) = confinement::confine(&configured, &mut self.hashing) {
                    self.log.error(None, "not confined", &[("error", &error)]);
                    return Err(ChannelError::Closed);
                }
                self.settings = Some(Settings {
                    configured,
                    admission,
                });
                self.monitor.enter(SetupPhase::Serving);
                self.monitor
                    .send(&AuthToMonitor::Ready { version: VERSION })
            }
            (MonitorToAuth::Sessions, Some(socket)) => {
                self.sessions = Some(Channel::new(socket, SetupPhase::Serving));
                Ok(())
            }
            (MonitorToAuth::Successor, Some(socket)) => {
                self.successor = Some(Successor::new(socket).map_err(ChannelError::System)?);
                Ok(())
            }
            (MonitorToAuth::OlderMonitor, Some(socket))
                if self.older_monitors.len() < OLDER_MAX =>
            {
                let own = descriptors.pop().ok_or(ChannelError::Closed)?;
                let channel = Channel::new(own, SetupPhase::Serving);
                let sessions = Channel::new(socket, SetupPhase::Serving);
                let nonblocking = channel.set_nonblocking();
                nonblocking
                    .and_then(|()| sessions.set_nonblocking())
                    .map_err(ChannelError::System)?;
                self.older_monitors.push(OlderMonitor {
                    channel,
                    sessions: Some(sessions),
                    fronts: Vec::new(),
                });
                Ok(())
            }
            (MonitorToAuth::Conversation(id), Some(socket)) => {
                self.conversations.open(id, socket);
                Ok(())
            }
            (MonitorToAuth::LoginDelay(named, delay_s), _) if self.delays.len() < TABLES_MAX => {
                self.delays.push((named, delay_s));
                Ok(())
            }
            (message, descriptor) => self
                .heed(message, descriptor)
                .then_some(())
                .ok_or(ChannelError::Closed),
        }
    }

    /// Handles one message from the front at `place`. After an error, the front's channel ends.
    fn hear_front(&mut self, place: usize, buffer: &mut PacketBuffer) -> Result<(), ChannelError> {
        let now = Instant::now();
        let (id, front) = &mut self.fronts[place];
        let id = *id;
        let (message, _) = front.receive(buffer)?;
        if message == FrontToAuth::Last {
            front.enter(AuthPhase::Leaving);
            return Ok(());
        }
        let (FrontToAuth::Check { session, .. }
        | FrontToAuth::Prove { session, .. }
        | FrontToAuth::Proceed(session)
        | FrontToAuth::Cancel(session)) = message
        else {
            return Ok(());
        };
        // A front may speak for its own sessions only.
        if session.front() != id {
            return self.out_of_order(session);
        }
        match message {
            FrontToAuth::Check {
                credentials,
                impossible,
                client,
                ..
            } => match self.logins.begin(session, client, impossible, now) {
                Ok(login_id) => self.begin_login(login_id, credentials, now),
                Err(NotBegun::OutOfOrder) => self.out_of_order(session),
                Err(NotBegun::Full) => {
                    self.log_cannot_check(session, "-", "too many logins at once");
                    self.refuse(session, AuthRefusal::Temporary);
                    Ok(())
                }
            },
            FrontToAuth::Prove { proof, .. } => match self.logins.prove(session, now) {
                Ok(Some((login_id, exchange))) => {
                    self.check(login_id, Evidence::Proof(exchange, proof))
                }
                Ok(None) => {
                    self.refuse(session, AuthRefusal::Temporary);
                    Ok(())
                }
                Err(_) => self.out_of_order(session),
            },
            FrontToAuth::Proceed(_) => match self.logins.proceed(session) {
                Ok(Some(account)) => self.grant(session, account),
                Ok(None) => {
                    self.refuse(session, AuthRefusal::Temporary);
                    Ok(())
                }
                Err(_) => self.out_of_order(session),
            },
            FrontToAuth::Last => Ok(()),
            FrontToAuth::Cancel(_) => {
                self.logins.cancel(session);
                Ok(())
            }
        }
    }

    /// Logs a message that no honest front sends. The error ends the front's channel.
    fn out_of_order(&self, session: SessionId) -> Result<(), ChannelError> {
        self.log
            .warning(Some(session), "a message that must not be", &[]);
        Err(FRONT_BROKE_RULES)
    }

    /// Logs the lines of the password file that let nobody in.
    fn warn_of_lines(&self, settings: &AuthSettings) {
        let AccountSource::PasswdFile { path } = &settings.source else {
            return;
        };
        // `usable` has just opened the file. If it cannot be read now, the next login logs that.
        let Ok((lines, more)) = passwd_file::bad_lines(path.as_path()) else {
            return;
        };
        let text = "a line of the password file lets nobody in";
        for line in &lines {
            self.log.warning(None, text, &[("line", line)]);
        }
        if more > 0 {
            let text = "more lines of the password file let nobody in";
            self.log.warning(None, text, &[("lines", &more)]);
        }
    }

    /// Handles the logins whose time has come.
    fn handle_due(&mut self) -> Result<(), ChannelError> {
        for due in self.logins.due(Instant::now()) {
            match due {
                Due::Check(login_id, shown) => self.check(login_id, *shown)?,
                Due::Refuse(session) => self.refuse(session, AuthRefusal::Credentials),
                Due::Dropped(session) => {
                    let why = "no next step came";
                    self.log.info(Some(session), "refused", &[("why", &why)]);
                }
            }
        }
        Ok(())
    }
}

/// Whether a descriptor can be read now, or its other end is closed.
fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let mut ready = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Checks that auth can read the files of the settings, and that they are safe. So the operator gets
/// an error at the start or at a reload, not at the first login. `Err` names the key and the reason.
fn usable(settings: &AuthSettings) -> Result<(), String> {
    let opened = |key: &str, path: &AbsolutePath| {
        trusted_file::open(path.as_path())
            .map(drop)
            .map_err(|error| format!("{key}: {path}, as auth's user: {error}"))
    };
    if let AccountSource::PasswdFile { path } = &settings.source {
        opened("auth.passwd_file", path)?;
    }
    if let Some(TokenSource::Keys { file, .. }) = &settings.tokens {
        opened("auth.oauth2.keys", file)?;
    }
    match &settings.certificates {
        Some(rules) => opened("tls.client_ca", &rules.authorities),
        None => Ok(()),
    }
}
