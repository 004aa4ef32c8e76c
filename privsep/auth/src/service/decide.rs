//! What becomes of a login: how its credentials are checked, and what follows from what was found.

use super::Auth;
use crate::check::Whom;
use crate::hashing::Work;
use crate::login::{Shown, Ticket};
use crate::own_file;
use crate::policy::attempts::{Counted, Turn};
use crate::policy::names;
use crate::verdict::Verdict;
use popward_proto::account::{Account, SessionId};
use popward_proto::auth::{AuthRefusal, AuthToFront, Client, Credentials};
use popward_proto::auth_conversation::AuthToConversation;
use popward_proto::bounded::{Bytes, Text, UserName};
use popward_proto::monitor_auth::{AccountSource, AuthToMonitor, TokenSource};
use popward_proto::network::Network;
use popward_sys::channel::ChannelError;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long a login may wait for its turn: to have a conversation, or to be looked at after others of its name.
const LINE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether it is its turn.
const LINE_STEP: Duration = Duration::from_millis(100);

/// Why there is no conversation.
const REACHED: &str = "auth.conversations is reached";

/// Why nothing is being found out about a login.
enum NotAsked {
    /// The configuration has nothing by which these credentials could be checked.
    NotOffered,
    /// Not now.
    Failed(String),
}

impl From<String> for NotAsked {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// The name in what a client shows.
fn name(credentials: &Credentials) -> Option<&UserName> {
    match credentials {
        Credentials::Password { user, .. }
        | Credentials::Apop { user, .. }
        | Credentials::CramMd5 { user, .. }
        | Credentials::Scram { user, .. } => Some(user),
        Credentials::Token { user, .. } | Credentials::Certificate { user, .. } => user.as_ref(),
    }
}

impl Auth {
    /// A login has begun: its source may have to wait.
    pub(super) fn begun(
        &mut self,
        ticket: Ticket,
        credentials: Credentials,
        now: Instant,
    ) -> Result<(), ChannelError> {
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(ticket)) else {
            return Err(ChannelError::Closed);
        };
        let (rules, throttle) = (&settings.told.names, &settings.told.throttle);
        login.user = name(&credentials).map(|user| names::normal(user.clone(), rules));
        let peer = login.client.peer;
        let wait = self.memory.penalties.wait(peer, throttle, now);
        if wait.is_zero() {
            return self.check(ticket, Shown::Credentials(credentials));
        }
        login.punish(now + wait, credentials);
        if let Some(times) = self.said.waiting.may_log(Network::source(peer), now) {
            let seconds = wait.as_secs_f64();
            self.log.notice(
                Some(ticket.session),
                "a source waits before its logins are looked at",
                &[("peer", &peer), ("seconds", &seconds), ("times", &times)],
            );
        }
        Ok(())
    }

    /// Has what a client has shown looked at. What was closed since its login began is closed for it too.
    pub(super) fn check(&mut self, ticket: Ticket, shown: Shown) -> Result<(), ChannelError> {
        let now = Instant::now();
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(ticket)) else {
            return Ok(());
        };
        let throttle = &settings.told.throttle;
        let attempts = &mut self.memory.attempts;
        let guess = match login
            .user
            .as_ref()
            .map(|user| attempts.begin(user, throttle, now))
        {
            Some(Turn::Closed) => {
                self.failed(ticket);
                return Ok(());
            }
            Some(Turn::Later) => {
                self.wait_for_others(ticket, shown, "too many logins by this name at once");
                return Ok(());
            }
            Some(Turn::Now(guess)) => Some(guess),
            None => None,
        };
        if self.in_line(&shown) {
            self.wait_for_others(ticket, shown, REACHED);
            return Ok(());
        }
        let Some(login) = self.logins.get(ticket) else {
            return Ok(());
        };
        login.guess = guess;
        let (user, client) = (login.user.clone(), login.client);
        let asked = match shown {
            Shown::Proof(exchange, proof) => {
                let work = Work::Prove(exchange, proof);
                self.submit(ticket, work).map_err(NotAsked::Failed)
            }
            Shown::Credentials(credentials) => self.ask(ticket, user, client, credentials),
        };
        match asked {
            Ok(()) => Ok(()),
            Err(NotAsked::NotOffered) => {
                let why = "no secret is kept for this mechanism".to_owned();
                self.conclude(ticket, Verdict::Refused(why))
            }
            Err(NotAsked::Failed(why)) => {
                self.cannot(ticket, &why);
                Ok(())
            }
        }
    }

    /// Tries again in a moment, unless it waits too long already.
    fn wait_for_others(&mut self, ticket: Ticket, shown: Shown, why: &str) {
        let now = Instant::now();
        let Some(login) = self.logins.get(ticket) else {
            return;
        };
        if now.saturating_duration_since(login.ready()) < LINE_MAX {
            login.hold(now + LINE_STEP, shown);
        } else {
            self.cannot(ticket, why);
        }
    }

    /// Whether credentials need a conversation, and there are as many as there may be.
    fn in_line(&self, shown: &Shown) -> bool {
        let Some(settings) = &self.settings else {
            return false;
        };
        let told = &settings.told;
        let converses = match shown {
            Shown::Credentials(Credentials::Token { .. } | Credentials::Certificate { .. }) => true,
            Shown::Credentials(_) => !matches!(told.source, AccountSource::PasswdFile { .. }),
            Shown::Proof(..) => false,
        };
        converses && self.conversations.count() >= usize::from(told.conversation_limits.at_once)
    }

    fn ask(
        &mut self,
        ticket: Ticket,
        user: Option<UserName>,
        Client { peer, .. }: Client,
        credentials: Credentials,
    ) -> Result<(), NotAsked> {
        let Some(settings) = &self.settings else {
            return Err(NotAsked::NotOffered);
        };
        let told = &settings.told;
        let (question, file) = match (credentials, user) {
            (Credentials::Token { token, .. }, _) => match told.tokens.clone() {
                None => return Err(NotAsked::NotOffered),
                Some(TokenSource::Program { program }) => (
                    AuthToConversation::TokenProgram {
                        program,
                        token,
                        peer,
                    },
                    None,
                ),
                Some(TokenSource::Keys { file, rules }) => {
                    (AuthToConversation::Token { rules, token }, Some(file))
                }
            },
            (
                Credentials::Certificate {
                    chain,
                    signed,
                    scheme,
                    signature,
                    ..
                },
                _,
            ) => {
                let rules = told.certificates.clone().ok_or(NotAsked::NotOffered)?;
                let question = AuthToConversation::Certificate {
                    name: rules.name,
                    chain,
                    signed,
                    scheme,
                    signature,
                };
                (question, Some(rules.authorities))
            }
            (_, None) => return Err(NotAsked::NotOffered),
            (shown, Some(user)) => match (told.source.clone(), shown) {
                (AccountSource::PasswdFile { path }, shown) => {
                    let work = Work::Check(path, Whom { user, peer }, shown);
                    return Ok(self.submit(ticket, work)?);
                }
                (AccountSource::Pam { service }, Credentials::Password { secret, .. }) => {
                    let secret = Some(secret);
                    (
                        AuthToConversation::Pam {
                            service,
                            user,
                            secret,
                            peer,
                        },
                        None,
                    )
                }
                (
                    AccountSource::Checkpassword { program },
                    Credentials::Password { secret, .. },
                ) => (
                    AuthToConversation::Checkpassword {
                        program,
                        user,
                        secret,
                        peer,
                    },
                    None,
                ),
                _ => return Err(NotAsked::NotOffered),
            },
        };
        let open = |path: popward_proto::bounded::AbsolutePath| {
            own_file::open(path.as_path()).map_err(|error| format!("{path}: {error}"))
        };
        let file = file.map(open).transpose()?;
        Ok(self.converse(ticket, &question, file.as_ref())?)
    }

    fn submit(&self, ticket: Ticket, work: Work) -> Result<(), String> {
        let taken = self.hashing.submit(ticket, work);
        taken.then_some(()).ok_or("too many wait".to_owned())
    }

    fn converse(
        &mut self,
        ticket: Ticket,
        question: &AuthToConversation,
        file: Option<&File>,
    ) -> Result<(), String> {
        let Some(bounds) = self
            .settings
            .as_ref()
            .map(|settings| settings.told.conversation_limits)
        else {
            return Err("no settings".to_owned());
        };
        // Who has just been named goes on in the place of the conversation that named them, which may still be dying.
        let goes_on = self.logins.get(ticket).is_some_and(|login| login.named);
        if !goes_on && self.conversations.count() >= usize::from(bounds.at_once) {
            return Err(REACHED.to_owned());
        }
        let limit = Duration::from_millis(bounds.limit_ms.into());
        self.conversations.start(ticket, question, file, limit)
    }

    /// Something was found out about a login.
    pub(super) fn conclude(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
    ) -> Result<(), ChannelError> {
        let Some(login) = self.logins.get(ticket) else {
            return Ok(());
        };
        // If it was wrong, it is counted below.
        login.guess = None;
        if login.abandoned {
            // To go away before the answer makes no guess cheaper.
            match verdict {
                Verdict::Refused(why) => self.refused(ticket, &why),
                Verdict::Unusable(why) => self.unusable(ticket, &why),
                _ => {}
            }
            self.logins.end(ticket);
            return Ok(());
        }
        let session = ticket.session;
        match verdict {
            Verdict::Granted(account) => {
                if self.admit(ticket, &account) {
                    self.logins.end(ticket);
                    return self.grant(session, account);
                }
            }
            Verdict::Identified(user) => self.named(ticket, user),
            Verdict::Challenge(first, exchange) => {
                login.await_proof(exchange, Instant::now());
                let first = Text::truncated(&first);
                self.answer(session, &AuthToFront::Challenge { session, first });
            }
            Verdict::Proved(signature, account) => {
                if !self.admit(ticket, &account) {
                    return Ok(());
                }
                if let (Some(login), Ok(signature)) =
                    (self.logins.get(ticket), Bytes::try_from(signature))
                {
                    login.await_proceed(account, Instant::now());
                    self.answer(session, &AuthToFront::Signature { session, signature });
                }
            }
            Verdict::Failed(why) => self.cannot(ticket, &why),
            Verdict::Unusable(why) => self.unusable(ticket, &why),
            Verdict::Refused(why) => self.refused(ticket, &why),
        }
        Ok(())
    }

    /// A token or a certificate is this user's: now for the account.
    fn named(&mut self, ticket: Ticket, user: UserName) {
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(ticket)) else {
            return;
        };
        let user = names::normal(user, &settings.told.names);
        let asked = login.user.replace(user.clone());
        if asked.is_some_and(|asked| asked != user) {
            return self.refused(ticket, "what is shown is another user's");
        }
        // A child that names again whom it was to look for would go on for ever.
        if std::mem::replace(&mut login.named, true) {
            return self.cannot(ticket, "named twice");
        }
        let peer = login.client.peer;
        let begun = match settings.told.source.clone() {
            AccountSource::PasswdFile { path } => {
                self.submit(ticket, Work::Account(path, Whom { user, peer }))
            }
            AccountSource::Checkpassword { .. } => {
                self.submit(ticket, Work::SystemAccount(Whom { user, peer }))
            }
            AccountSource::Pam { service } => {
                let question = AuthToConversation::Pam {
                    service,
                    user,
                    secret: None,
                    peer,
                };
                self.converse(ticket, &question, None)
            }
        };
        if let Err(why) = begun {
            self.cannot(ticket, &why);
        }
    }

    /// Whether an account whose credentials are right may log in now. If not, the login has failed or ended.
    fn admit(&mut self, ticket: Ticket, account: &Account) -> bool {
        let Some(settings) = &self.settings else {
            return false;
        };
        if let Err(why) = settings.admission.admit(account) {
            self.refused(ticket, &why);
            return false;
        }
        let login = self.logins.get(ticket);
        if let Some(user) = login.and_then(|login| login.user.as_ref()) {
            self.memory.attempts.succeeded(user);
        }
        true
    }

    /// Grants to the monitor, unless the account comes too soon.
    pub(super) fn grant(
        &mut self,
        session: SessionId,
        account: Account,
    ) -> Result<(), ChannelError> {
        let now = Instant::now();
        let delay = self.settings.as_ref();
        let delay = delay.map_or(0, |settings| settings.admission.login_delay_s(&account));
        let delay = Duration::from_secs(delay.into());
        let (intervals, user) = (&mut self.memory.intervals, &account.name);
        if intervals.log_in(user, session, delay, now) {
            let granted = AuthToMonitor::Granted { session, account };
            return self.monitor.send(&granted);
        }
        if let Some(times) = self.said.too_soon.may_log(user.clone(), now) {
            let why = "auth.login_delay";
            self.log.notice(
                Some(session),
                "refused",
                &[("user", user), ("why", &why), ("times", &times)],
            );
        }
        self.refuse(session, AuthRefusal::TooSoon);
        Ok(())
    }

    /// Nothing can be found out about a login.
    pub(super) fn cannot(&mut self, ticket: Ticket, why: &str) {
        let user = self.shown(ticket);
        self.say_cannot(ticket.session, &user, why);
        self.logins.end(ticket);
        self.refuse(ticket.session, AuthRefusal::Temporary);
    }

    /// Says why something cannot be found out, and for how many since the line before: this is the last of them.
    pub(super) fn say_cannot(&mut self, session: SessionId, user: &str, why: &str) {
        if let Some(times) = self.said.causes.may_log(why.to_owned(), Instant::now()) {
            self.log.error(
                Some(session),
                "cannot check",
                &[("user", &user), ("why", &why), ("times", &times)],
            );
        }
    }

    /// The account's entry cannot be used, which only the operator learns. All else is as at any failure, its line of the log too:
    /// that takes longer than a digest, so that without it times would tell (P9).
    fn unusable(&mut self, ticket: Ticket, why: &str) {
        let user = self.shown(ticket);
        self.say_cannot(ticket.session, &user, why);
        self.refused(ticket, why);
    }

    /// The credentials are wrong, or the account may not log in.
    fn refused(&mut self, ticket: Ticket, why: &str) {
        let user = self.shown(ticket);
        if let Some(login) = self.logins.get(ticket) {
            self.log.notice(
                Some(ticket.session),
                "refused",
                &[("user", &user), ("peer", &login.client.peer), ("why", &why)],
            );
        }
        self.failed(ticket);
    }

    /// Counts a failure, and notes when it is told.
    fn failed(&mut self, ticket: Ticket) {
        let now = Instant::now();
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(ticket)) else {
            return;
        };
        let throttle = &settings.told.throttle;
        let delay = Duration::from_millis(throttle.failure_delay_ms.into());
        login.fail(delay, now);
        self.memory
            .penalties
            .failed(login.client.peer, throttle, now);
        let Some(user) = &login.user else { return };
        if self.memory.attempts.failed(user, throttle, now) == Counted::Closes {
            self.log.warning(
                Some(ticket.session),
                "too many failures: nothing is checked for this user for a while",
                &[("user", user), ("peer", &login.client.peer)],
            );
        }
    }

    /// The name for a log line.
    fn shown(&mut self, ticket: Ticket) -> String {
        let login = self.logins.get(ticket);
        let user = login.and_then(|login| login.user.as_ref());
        user.map_or_else(|| "-".to_owned(), UserName::to_string)
    }
}
