//! popward-auth: checks credentials, tells a front who was refused and the monitor who was granted.
//!
//! Runs as its own unprivileged user without capabilities. It reads the password file. PAM is not there yet: a
//! configuration that asks for it is refused.

mod crypt;
mod passwd_file;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::VERSION;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::auth::{AuthPhase, AuthRefusal, AuthToFront, FrontToAuth};
use popward_proto::bounded::Text;
use popward_proto::monitor_auth::{AccountSource, AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::inherited;
use popward_sys::log::Log;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Front = Channel<AuthToFront, FrontToAuth>;

/// Most fronts at once, those that are ending among them.
const FRONTS_MAX: usize = 128;

/// Most failures that wait for their time. A failure beyond is answered as temporary, at once.
const WAITING_MAX: usize = 4096;

fn main() -> ExitCode {
    let Ok([control, log]) = inherited::take::<2>() else {
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log) else {
        return ExitCode::FAILURE;
    };
    if let Err(error) = confine() {
        log.error(None, "not confined", &[("error", &error)]);
        return ExitCode::FAILURE;
    }
    let mut auth = Auth {
        monitor: Channel::new(control, SetupPhase::Starting),
        fronts: Vec::new(),
        settings: None,
        waiting: Vec::new(),
        log,
    };
    match auth.serve() {
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            auth.log
                .error(None, "the monitor broke the rules", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}

fn confine() -> Result<(), NotConfined> {
    confine::harden(FRONTS_MAX as u64 + 64)?;
    confine::drop_capabilities(&[])?;
    let identity = Identity::current().ok_or(NotConfined::Unproven("between two users"))?;
    confine::prove(&identity, &confine::groups()?, &[])
}

/// What the configuration says.
struct Settings {
    source: AccountSource,
    uids: std::ops::RangeInclusive<u32>,
    failure_delay: Duration,
}

struct Auth {
    monitor: Channel<AuthToMonitor, MonitorToAuth>,
    fronts: Vec<(FrontId, Front)>,
    settings: Option<Settings>,
    /// Failures, and when they are told.
    waiting: Vec<(Instant, SessionId)>,
    log: Log,
}

impl Auth {
    fn serve(&mut self) -> Result<(), ChannelError> {
        let mut buffer = PacketBuffer::for_messages();
        loop {
            self.tell_due();
            let next = self.waiting.iter().map(|(at, _)| *at).min();
            let wait = next.map_or(PollTimeout::NONE, |at| {
                let wait = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::from(1000u16))
            });
            let mut ready = vec![PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN)];
            ready.extend(
                self.fronts
                    .iter()
                    .map(|(_, f)| PollFd::new(f.as_fd(), PollFlags::POLLIN)),
            );
            match poll(&mut ready, wait) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(ChannelError::System(errno)),
            }
            let ready: Vec<bool> = ready.iter().map(|end| end.any() == Some(true)).collect();
            for place in (0..self.fronts.len())
                .rev()
                .filter(|place| ready[place + 1])
            {
                if let Err(error) = self.hear_front(place, &mut buffer) {
                    if error != ChannelError::Closed {
                        self.log
                            .warning(None, "a front's channel ended", &[("error", &error)]);
                    }
                    self.fronts.remove(place);
                }
            }
            if ready[0] {
                self.hear_monitor(&mut buffer)?;
            }
        }
    }

    fn hear_monitor(&mut self, buffer: &mut PacketBuffer) -> Result<(), ChannelError> {
        let Packet::Message(message, mut descriptors) = self.monitor.receive(buffer)? else {
            return Ok(());
        };
        match (message, descriptors.pop()) {
            (
                MonitorToAuth::Settings {
                    version,
                    source,
                    first_uid,
                    last_uid,
                    failure_delay_ms,
                },
                _,
            ) if version == VERSION => {
                if matches!(source, AccountSource::Pam { .. }) {
                    let why =
                        Text::truncated("auth.source = \"pam\" is not supported by this version");
                    return self.monitor.send(&AuthToMonitor::Unusable(why));
                }
                let failure_delay = Duration::from_millis(failure_delay_ms.into());
                let first = self.settings.is_none();
                self.settings = Some(Settings {
                    source,
                    uids: first_uid.max(1)..=last_uid,
                    failure_delay,
                });
                self.monitor.enter(SetupPhase::Serving);
                if first {
                    self.monitor
                        .send(&AuthToMonitor::Ready { version: VERSION })
                } else {
                    Ok(())
                }
            }
            (MonitorToAuth::Front(id), Some(socket)) if self.fronts.len() < FRONTS_MAX => {
                let front = Channel::new(socket, AuthPhase::Serving);
                if front.set_nonblocking().is_ok() {
                    self.fronts.push((id, front));
                }
                Ok(())
            }
            _ => Err(ChannelError::Closed),
        }
    }

    fn hear_front(&mut self, place: usize, buffer: &mut PacketBuffer) -> Result<(), ChannelError> {
        let came = Instant::now();
        let (id, front) = &mut self.fronts[place];
        let id = *id;
        let Packet::Message(
            FrontToAuth::Check {
                session,
                user,
                secret,
                peer,
                ..
            },
            _,
        ) = front.receive(buffer)?
        else {
            return Err(ChannelError::Closed);
        };
        let Some(settings) = &self.settings else {
            return Err(ChannelError::Closed);
        };
        // A front speaks for its own sessions only, and has one check of each.
        if session.front() != id || self.waiting.iter().any(|(_, waiting)| *waiting == session) {
            self.log
                .warning(Some(session), "a check that must not be", &[]);
            return Err(ChannelError::Closed);
        }
        let AccountSource::PasswdFile { path } = &settings.source else {
            return Err(ChannelError::Closed);
        };
        let entry = match passwd_file::find(path.as_path(), &user) {
            Ok(entry) => entry,
            Err(error) => {
                self.log.error(
                    Some(session),
                    "password file",
                    &[("file", path), ("error", &error)],
                );
                return self.refuse(session, AuthRefusal::Temporary);
            }
        };
        let right = passwd_file::verify(entry.as_ref(), secret.expose());
        let why = match &entry {
            None => "no such user",
            Some(_) if !right => "wrong password",
            Some(entry)
                if !settings.uids.contains(&entry.account.uid) || entry.account.gid == 0 =>
            {
                "user or group id out of range"
            }
            Some(entry) => {
                self.log.info(
                    Some(session),
                    "granted",
                    &[("user", &user), ("uid", &entry.account.uid)],
                );
                let account = entry.account.clone();
                return self
                    .monitor
                    .send(&AuthToMonitor::Granted { session, account });
            }
        };
        self.log.notice(
            Some(session),
            "refused",
            &[("user", &user), ("peer", &peer), ("why", &why)],
        );
        if self.waiting.len() >= WAITING_MAX {
            return self.refuse(session, AuthRefusal::Temporary);
        }
        self.waiting.push((came + settings.failure_delay, session));
        Ok(())
    }

    fn refuse(&self, session: SessionId, why: AuthRefusal) -> Result<(), ChannelError> {
        let front = self.fronts.iter().find(|(id, _)| *id == session.front());
        front.map_or(Ok(()), |(_, front)| {
            front.send(&AuthToFront::Refused { session, why })
        })
    }

    fn tell_due(&mut self) {
        let now = Instant::now();
        for (_, session) in self.waiting.iter().filter(|(at, _)| *at <= now) {
            // A front that does not take it has gone, or its client's time limit ends it.
            let _ = self.refuse(*session, AuthRefusal::Credentials);
        }
        self.waiting.retain(|(at, _)| *at > now);
    }
}
