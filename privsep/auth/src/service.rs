//! The loop: what fronts ask is found out elsewhere (threads, children), and ends in a grant to the monitor or a refusal in
//! due time. What a login goes through is in `login`, what is decided about it in `service/decide.rs`.

mod decide;

use crate::conversation_pool::ConversationPool;
use crate::hashing::HashingThreads;
use crate::login::{Due, Evidence, LOGINS_MAX, Logins, NotBegun};
use crate::policy::admission::AdmissionRules;
use crate::policy::attempts::Attempts;
use crate::policy::interval::Intervals;
use crate::policy::penalties::Penalties;
use crate::trusted_file;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::VERSION;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::auth::{AuthPhase, AuthRefusal, AuthToFront, FrontToAuth};
use popward_proto::bounded::{Text, UserName};
use popward_proto::monitor_auth::{
    AccountSelector, AccountSource, AuthSettings, AuthToMonitor, MonitorToAuth, SetupPhase,
    TABLES_MAX, TokenSource,
};
use popward_proto::network::Network;
use popward_proto::permit::Refused;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::log::Log;
use popward_sys::log_rate_limit::LogRateLimit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

type Monitor = Channel<AuthToMonitor, MonitorToAuth>;
type Front = Channel<AuthToFront, FrontToAuth>;

/// Most fronts at once, those that are ending among them.
const FRONTS_MAX: usize = 128;

/// A front said what no honest one says.
const BROKEN: ChannelError = ChannelError::Refused(Refused::OutOfPhase("this session's message"));

/// What the configuration says.
struct Settings {
    configured: AuthSettings,
    admission: AdmissionRules,
}

/// What is remembered of logins that are over.
struct History {
    penalties: Penalties,
    attempts: Attempts,
    intervals: Intervals,
}

/// What was said lately in the log, each by what it is about: strangers come as often as they like.
#[derive(Default)]
struct LogLimits {
    /// Sources that wait.
    waiting: LogRateLimit<Network>,
    /// Why something could not be found out.
    causes: LogRateLimit<String>,
    /// Who came too soon.
    too_soon: LogRateLimit<UserName>,
}

/// The process's state.
pub(crate) struct Auth {
    monitor: Monitor,
    fronts: Vec<(FrontId, Front)>,
    settings: Option<Settings>,
    /// Login delays that the next settings come with.
    delays: Vec<(AccountSelector, u32)>,
    logins: Logins,
    history: History,
    log_limits: LogLimits,
    hashing: HashingThreads,
    conversations: ConversationPool,
    log: Log,
}

impl Auth {
    /// Before the monitor has said anything. The log comes back with an error.
    pub(crate) fn new(control: OwnedFd, log: Log) -> Result<Self, (Log, std::io::Error)> {
        let parts =
            HashingThreads::start().and_then(|hashing| Ok((hashing, ConversationPool::new()?)));
        let (hashing, conversations) = match parts {
            Ok(parts) => parts,
            Err(error) => return Err((log, error)),
        };
        Ok(Self {
            monitor: Channel::new(control, SetupPhase::Starting),
            fronts: Vec::new(),
            settings: None,
            delays: Vec::new(),
            logins: Logins::default(),
            history: History {
                penalties: Penalties::new(),
                attempts: Attempts::new(LOGINS_MAX),
                intervals: Intervals::new(),
            },
            log_limits: LogLimits::default(),
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
                    let (gone, _) = self.fronts.remove(place);
                    self.logins.keep(|session| session.front() != gone);
                    if error != ChannelError::Closed {
                        self.log
                            .warning(None, "a front's channel ended", &[("error", &error)]);
                        // It lives, and could log nobody in any more.
                        self.monitor.send(&AuthToMonitor::BrokeRules(gone))?;
                    }
                }
            }
            let mut verdicts = self.conversations.proceed(&mut buffer);
            verdicts.extend(self.hashing.verdicts());
            for (login_id, verdict) in verdicts {
                self.conclude(login_id, verdict)?;
            }
            self.handle_due()?;
            if own[0] {
                self.hear_monitor(&mut buffer)?;
            }
        }
    }

    /// Waits for something to do: the monitor, verdicts of the threads, fronts, conversations, in this order.
    fn wait(&self) -> Result<Vec<bool>, ChannelError> {
        let next = self.logins.next().into_iter();
        let next = next.chain(self.conversations.next()).min();
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
            (MonitorToAuth::Settings { version, settings }, _) if version == VERSION => {
                let (configured, delays) = (*settings, std::mem::take(&mut self.delays));
                let admission = usable(&configured)
                    .and_then(|()| AdmissionRules::load(configured.admission.clone(), delays));
                let admission = match admission {
                    Ok(admission) => admission,
                    Err(why) => {
                        let why = Text::truncated(&why);
                        return self.monitor.send(&AuthToMonitor::Unusable(why));
                    }
                };
                self.settings = Some(Settings {
                    configured,
                    admission,
                });
                self.monitor.enter(SetupPhase::Serving);
                self.monitor
                    .send(&AuthToMonitor::Ready { version: VERSION })
            }
            (MonitorToAuth::NotOpened { session, user }, _) => {
                self.history.intervals.take_back(&user, session);
                Ok(())
            }
            (MonitorToAuth::LoginDelay(named, delay_s), _) if self.delays.len() < TABLES_MAX => {
                self.delays.push((named, delay_s));
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
        let now = Instant::now();
        let (id, front) = &mut self.fronts[place];
        let id = *id;
        let Packet::Message(message, _) = front.receive(buffer)? else {
            return Err(BROKEN);
        };
        let (FrontToAuth::Check { session, .. }
        | FrontToAuth::Prove { session, .. }
        | FrontToAuth::Proceed(session)
        | FrontToAuth::Cancel(session)) = message;
        // A front speaks for its own sessions only.
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
            FrontToAuth::Cancel(_) => {
                self.logins.cancel(session);
                Ok(())
            }
        }
    }

    /// What no honest front says: its channel ends.
    fn out_of_order(&self, session: SessionId) -> Result<(), ChannelError> {
        self.log
            .warning(Some(session), "a message that must not be", &[]);
        Err(BROKEN)
    }

    fn refuse(&self, session: SessionId, why: AuthRefusal) {
        self.answer(session, &AuthToFront::Refused { session, why });
    }

    fn answer(&self, session: SessionId, answer: &AuthToFront) {
        let front = self.fronts.iter().find(|(id, _)| *id == session.front());
        if let Some((_, front)) = front {
            // A front that does not take it has gone, or its client's time limit ends it.
            let _ = front.send(answer);
        }
    }

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

/// Whether accounts can be looked up there at all, so that the operator hears of it at the start and not at a login.
fn usable(settings: &AuthSettings) -> Result<(), String> {
    let opened = |key: &str, path: &popward_proto::bounded::AbsolutePath| {
        trusted_file::open(path.as_path())
            .map(drop)
            .map_err(|error| format!("{key}: {path}, as auth's user: {error}"))
    };
    match &settings.source {
        AccountSource::PasswdFile { path } => opened("auth.passwd_file", path)?,
        AccountSource::Pam { service } => {
            let known = ["/etc/pam.d", "/usr/lib/pam.d"].iter().any(|directory| {
                std::path::Path::new(directory)
                    .join(service.as_str())
                    .exists()
            });
            if !known {
                return Err(format!(
                    "auth.pam_service: there is no /etc/pam.d/{service}"
                ));
            }
        }
        AccountSource::Checkpassword { program } => opened("auth.checkpassword", program)?,
    }
    match &settings.tokens {
        Some(TokenSource::Keys { file, .. }) => opened("auth.oauth2.keys", file)?,
        Some(TokenSource::Program { program }) => opened("auth.oauth2.program", program)?,
        None => {}
    }
    match &settings.certificates {
        Some(rules) => opened("tls.client_ca", &rules.authorities),
        None => Ok(()),
    }
}
