//! The loop: checks come from fronts, are made elsewhere, and end in a grant to the monitor or a refusal in due time.

use crate::conversations::Conversations;
use crate::hashing::{Hashing, Job};
use crate::verdict::Verdict;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::VERSION;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::auth::{AuthPhase, AuthRefusal, AuthToFront, Client, Credentials, FrontToAuth};
use popward_proto::auth_pam::AuthToPam;
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_auth::{AccountSource, AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::log::Log;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

type Monitor = Channel<AuthToMonitor, MonitorToAuth>;
type Front = Channel<AuthToFront, FrontToAuth>;

/// Most fronts at once, those that are ending among them.
const FRONTS_MAX: usize = 128;

/// Most checks at once, those among them that failed and wait for their time. One beyond is answered as temporary.
const CHECKS_MAX: usize = 8192;

/// What the configuration says.
struct Settings {
    source: AccountSource,
    uids: std::ops::RangeInclusive<u32>,
    failure_delay: Duration,
}

/// A check that has not been answered.
struct Check {
    user: UserName,
    peer: IpAddr,
    came: Instant,
    /// When its failure is told, once it has failed.
    due: Option<Instant>,
}

/// The process's state.
pub(crate) struct Auth {
    monitor: Monitor,
    fronts: Vec<(FrontId, Front)>,
    settings: Option<Settings>,
    checks: HashMap<SessionId, Check>,
    hashing: Hashing,
    conversations: Conversations,
    log: Log,
}

impl Auth {
    /// Before the monitor has said anything. The log comes back with an error.
    pub(crate) fn new(control: OwnedFd, log: Log) -> Result<Self, (Log, std::io::Error)> {
        let parts = Hashing::start().and_then(|hashing| Ok((hashing, Conversations::new()?)));
        let (hashing, conversations) = match parts {
            Ok(parts) => parts,
            Err(error) => return Err((log, error)),
        };
        Ok(Self {
            monitor: Channel::new(control, SetupPhase::Starting),
            fronts: Vec::new(),
            settings: None,
            checks: HashMap::new(),
            hashing,
            conversations,
            log,
        })
    }

    /// The log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Until the monitor ends, or breaks the rules.
    pub(crate) fn serve(&mut self) -> Result<(), ChannelError> {
        let mut buffer = PacketBuffer::for_messages();
        loop {
            let ready = self.wait()?;
            let (own, others) = ready.split_at(2);
            let fronts = &others[..self.fronts.len()];
            // Backwards: what is removed leaves the places before it as they were.
            for place in (0..fronts.len()).rev().filter(|place| fronts[*place]) {
                if let Err(error) = self.hear_front(place, &mut buffer) {
                    if error != ChannelError::Closed {
                        self.log
                            .warning(None, "a front's channel ended", &[("error", &error)]);
                    }
                    self.fronts.remove(place);
                }
            }
            let mut verdicts = self.conversations.proceed(&mut buffer);
            verdicts.extend(self.hashing.verdicts());
            for (session, verdict) in verdicts {
                self.conclude(session, verdict)?;
            }
            self.tell_due();
            if own[0] {
                self.hear_monitor(&mut buffer)?;
            }
        }
    }

    /// Waits for something to do: the monitor, verdicts of the threads, fronts, conversations, in this order.
    fn wait(&self) -> Result<Vec<bool>, ChannelError> {
        let due = self.checks.values().filter_map(|check| check.due);
        let next = due.chain(self.conversations.next()).min();
        let wait = next.map_or(PollTimeout::NONE, |at| {
            let wait = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::from(1000u16))
        });
        let own = [self.monitor.as_fd(), self.hashing.as_fd()];
        let fronts = self.fronts.iter().map(|(_, front)| front.as_fd());
        let mut ends: Vec<_> = own
            .into_iter()
            .chain(fronts)
            .chain(self.conversations.descriptors())
            .map(|end| PollFd::new(end, PollFlags::POLLIN))
            .collect();
        match poll(&mut ends, wait) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ChannelError::System(errno)),
        }
        Ok(ends.iter().map(|end| end.any() == Some(true)).collect())
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
                if let Err(why) = usable(&source) {
                    let why = Text::truncated(&why);
                    return self.monitor.send(&AuthToMonitor::Unusable(why));
                }
                let first = self.settings.is_none();
                self.settings = Some(Settings {
                    source,
                    uids: first_uid.max(1)..=last_uid,
                    failure_delay: Duration::from_millis(failure_delay_ms.into()),
                });
                self.monitor.enter(SetupPhase::Serving);
                if first {
                    let ready = AuthToMonitor::Ready { version: VERSION };
                    self.monitor.send(&ready)?;
                }
                Ok(())
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
        let (session, credentials, peer) = match front.receive(buffer)? {
            Packet::Message(
                FrontToAuth::Check {
                    session,
                    credentials,
                    client: Client { peer, .. },
                },
                _,
            ) => (session, credentials, peer),
            // What is being checked is checked to its end.
            Packet::Message(FrontToAuth::Cancel(_), _) => return Ok(()),
            _ => return Err(ChannelError::Closed),
        };
        let Some(settings) = &self.settings else {
            return Err(ChannelError::Closed);
        };
        // A front speaks for its own sessions only, and has one check of each.
        if session.front() != id || self.checks.contains_key(&session) {
            self.log
                .warning(Some(session), "a check that must not be", &[]);
            return Err(ChannelError::Closed);
        }
        let Credentials::Password { user, secret } = credentials else {
            self.refuse(session, AuthRefusal::Temporary);
            return Ok(());
        };
        let begun = if self.checks.len() >= CHECKS_MAX {
            Err("too many checks at once".to_owned())
        } else {
            let user = user.clone();
            match &settings.source {
                AccountSource::PasswdFile { path } => {
                    let path = path.clone();
                    let job = Job {
                        session,
                        path,
                        user,
                        secret,
                    };
                    let taken = self.hashing.submit(job);
                    taken.then_some(()).ok_or("too many wait".to_owned())
                }
                AccountSource::Pam { at_once, .. }
                    if self.conversations.count() >= usize::from(*at_once) =>
                {
                    Err("auth.pam_at_once is reached".to_owned())
                }
                AccountSource::Pam {
                    service, limit_ms, ..
                } => {
                    let service = service.clone();
                    let question = AuthToPam::Check {
                        service,
                        user,
                        secret,
                        peer,
                    };
                    let limit = Duration::from_millis((*limit_ms).into());
                    self.conversations.start(session, &question, limit)
                }
            }
        };
        if let Err(why) = begun {
            self.log
                .warning(Some(session), "cannot check", &[("why", &why)]);
            self.refuse(session, AuthRefusal::Temporary);
            return Ok(());
        }
        let check = Check {
            user,
            peer,
            came,
            due: None,
        };
        self.checks.insert(session, check);
        Ok(())
    }

    /// A check was made: grants now, or notes when to refuse.
    fn conclude(&mut self, session: SessionId, verdict: Verdict) -> Result<(), ChannelError> {
        let Some((settings, check)) = self.settings.as_ref().zip(self.checks.get_mut(&session))
        else {
            return Ok(());
        };
        let user = &check.user;
        let why = match verdict {
            Verdict::Granted(account)
                if !settings.uids.contains(&account.uid) || account.gid == 0 =>
            {
                format!("user id {} or group id out of range", account.uid)
            }
            Verdict::Granted(account) => {
                self.checks.remove(&session);
                let granted = AuthToMonitor::Granted { session, account };
                return self.monitor.send(&granted);
            }
            Verdict::Failed(why) => {
                self.log.error(
                    Some(session),
                    "cannot check",
                    &[("user", user), ("why", &why)],
                );
                self.checks.remove(&session);
                self.refuse(session, AuthRefusal::Temporary);
                return Ok(());
            }
            Verdict::Refused(why) => why,
        };
        self.log.notice(
            Some(session),
            "refused",
            &[("user", user), ("peer", &check.peer), ("why", &why)],
        );
        check.due = Some(due(check.came, Instant::now(), settings.failure_delay));
        Ok(())
    }

    fn refuse(&self, session: SessionId, why: AuthRefusal) {
        let front = self.fronts.iter().find(|(id, _)| *id == session.front());
        if let Some((_, front)) = front {
            // A front that does not take it has gone, or its client's time limit ends it.
            let _ = front.send(&AuthToFront::Refused { session, why });
        }
    }

    fn tell_due(&mut self) {
        let now = Instant::now();
        let is_due = |check: &Check| check.due.is_some_and(|due| due <= now);
        let due: Vec<SessionId> = self
            .checks
            .iter()
            .filter(|(_, check)| is_due(check))
            .map(|(session, _)| *session)
            .collect();
        for session in due {
            self.checks.remove(&session);
            self.refuse(session, AuthRefusal::Credentials);
        }
    }
}

/// Whether accounts can be looked up there at all, so that the operator hears of it at the start and not at a login.
fn usable(source: &AccountSource) -> Result<(), String> {
    match source {
        AccountSource::PasswdFile { path } => std::fs::File::open(path.as_path())
            .map(drop)
            .map_err(|error| format!("auth.passwd_file: {path}, as auth's user: {error}")),
        AccountSource::Pam { service, .. } => {
            let known = ["/etc/pam.d", "/usr/lib/pam.d"].iter().any(|directory| {
                std::path::Path::new(directory)
                    .join(service.as_str())
                    .exists()
            });
            known.then_some(()).ok_or(format!(
                "auth.pam_service: there is no /etc/pam.d/{service}"
            ))
        }
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
mod tests {
    use super::*;

    #[test]
    fn p9_a_failure_is_told_after_whole_delays_only() {
        let came = Instant::now();
        let (ms, delay) = (Duration::from_millis, Duration::from_secs(2));
        for (took, told) in [
            (0, 2000),
            (1, 2000),
            (2000, 2000),
            (2001, 4000),
            (9999, 10_000),
        ] {
            assert_eq!(due(came, came + ms(took), delay), came + ms(told), "{took}");
        }
        assert_eq!(due(came, came + ms(5), Duration::ZERO), came + ms(5));
    }
}
