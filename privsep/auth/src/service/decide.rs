//! What becomes of a login: how its credentials are checked, and what follows from what was found.

use super::Auth;
use crate::account::Claim;
use crate::hashing::HashingTask;
use crate::login::{Evidence, LoginId};
use crate::policy::attempts::{Counted, Turn};
use crate::policy::names;
use crate::trusted_file;
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
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether it is its turn.
const QUEUE_RETRY: Duration = Duration::from_millis(100);

/// Why there is no conversation.
const CONVERSATIONS_REACHED: &str = "auth.conversations is reached";

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
    pub(super) fn begin_login(
        &mut self,
        login_id: LoginId,
        credentials: Credentials,
        now: Instant,
    ) -> Result<(), ChannelError> {
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(login_id)) else {
            return Err(ChannelError::Closed);
        };
        let (rules, throttle) = (&settings.configured.names, &settings.configured.throttle);
        login.user = name(&credentials).map(|user| names::normal(user.clone(), rules));
        let peer = login.client.peer;
        let wait = self.history.penalties.wait(peer, throttle, now);
        if wait.is_zero() {
            return self.check(login_id, Evidence::Credentials(credentials));
        }
        login.wait_for_penalty(now + wait, credentials);
        if let Some(times) = self.log_limits.waiting.may_log(Network::source(peer), now) {
            let seconds = wait.as_secs_f64();
            self.log.notice(
                Some(login_id.session),
                "a source waits before its logins are looked at",
                &[("peer", &peer), ("seconds", &seconds), ("times", &times)],
            );
        }
        Ok(())
    }

    /// Has what a client has shown looked at. What was closed since its login began is closed for it too.
    pub(super) fn check(&mut self, login_id: LoginId, shown: Evidence) -> Result<(), ChannelError> {
        let now = Instant::now();
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(login_id)) else {
            return Ok(());
        };
        let throttle = &settings.configured.throttle;
        let attempts = &mut self.history.attempts;
        let guess = match login
            .user
            .as_ref()
            .map(|user| attempts.begin(user, throttle, now))
        {
            Some(Turn::Closed) => {
                self.failed(login_id);
                return Ok(());
            }
            Some(Turn::Later) => {
                self.queue(login_id, shown, "too many logins by this name at once");
                return Ok(());
            }
            Some(Turn::Now(guess)) => Some(guess),
            None => None,
        };
        if self.must_queue(&shown) {
            self.queue(login_id, shown, CONVERSATIONS_REACHED);
            return Ok(());
        }
        let Some(login) = self.logins.get(login_id) else {
            return Ok(());
        };
        login.guess = guess;
        let (user, client) = (login.user.clone(), login.client);
        let asked = match shown {
            Evidence::Proof(exchange, proof) => {
                let work = HashingTask::Prove(exchange, proof);
                self.submit(login_id, work).map_err(NotAsked::Failed)
            }
            Evidence::Credentials(credentials) => self.ask(login_id, user, client, credentials),
        };
        match asked {
            Ok(()) => Ok(()),
            Err(NotAsked::NotOffered) => {
                let why = "no secret is kept for this mechanism".to_owned();
                self.conclude(login_id, Verdict::Refused(why))
            }
            Err(NotAsked::Failed(why)) => {
                self.fail_temporarily(login_id, &why);
                Ok(())
            }
        }
    }

    /// Tries again in a moment, unless it waits too long already.
    fn queue(&mut self, login_id: LoginId, shown: Evidence, why: &str) {
        let now = Instant::now();
        let Some(login) = self.logins.get(login_id) else {
            return;
        };
        if now.saturating_duration_since(login.ready()) < QUEUE_WAIT_MAX {
            login.hold(now + QUEUE_RETRY, shown);
        } else {
            self.fail_temporarily(login_id, why);
        }
    }

    /// Whether credentials need a conversation, and there are as many as there may be.
    fn must_queue(&self, shown: &Evidence) -> bool {
        let Some(settings) = &self.settings else {
            return false;
        };
        let told = &settings.configured;
        let converses = match shown {
            Evidence::Credentials(Credentials::Token { .. } | Credentials::Certificate { .. }) => {
                true
            }
            Evidence::Credentials(_) => !matches!(told.source, AccountSource::PasswdFile { .. }),
            Evidence::Proof(..) => false,
        };
        converses && self.conversations.count() >= usize::from(told.conversation_limits.at_once)
    }

    fn ask(
        &mut self,
        login_id: LoginId,
        user: Option<UserName>,
        Client { peer, .. }: Client,
        credentials: Credentials,
    ) -> Result<(), NotAsked> {
        let Some(settings) = &self.settings else {
            return Err(NotAsked::NotOffered);
        };
        let told = &settings.configured;
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
                    let work = HashingTask::Check(path, Claim { user, peer }, shown);
                    return Ok(self.submit(login_id, work)?);
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
            trusted_file::open(path.as_path()).map_err(|error| format!("{path}: {error}"))
        };
        let file = file.map(open).transpose()?;
        Ok(self.start_conversation(login_id, &question, file.as_ref())?)
    }

    fn submit(&self, login_id: LoginId, work: HashingTask) -> Result<(), String> {
        let taken = self.hashing.submit(login_id, work);
        taken.then_some(()).ok_or("too many wait".to_owned())
    }

    fn start_conversation(
        &mut self,
        login_id: LoginId,
        question: &AuthToConversation,
        file: Option<&File>,
    ) -> Result<(), String> {
        let Some(bounds) = self
            .settings
            .as_ref()
            .map(|settings| settings.configured.conversation_limits)
        else {
            return Err("no settings".to_owned());
        };
        // Who has just been named goes on in the place of the conversation that named them, which may still be dying.
        let goes_on = self
            .logins
            .get(login_id)
            .is_some_and(|login| login.identified);
        if !goes_on && self.conversations.count() >= usize::from(bounds.at_once) {
            return Err(CONVERSATIONS_REACHED.to_owned());
        }
        let limit = Duration::from_millis(bounds.limit_ms.into());
        self.conversations.start(login_id, question, file, limit)
    }

    /// Something was found out about a login.
    pub(super) fn conclude(
        &mut self,
        login_id: LoginId,
        verdict: Verdict,
    ) -> Result<(), ChannelError> {
        let Some(login) = self.logins.get(login_id) else {
            return Ok(());
        };
        // If it was wrong, it is counted below.
        login.guess = None;
        let verdict = match (login.impossible, verdict) {
            (
                Some(why),
                Verdict::Granted(_)
                | Verdict::Identified(_)
                | Verdict::Proved(..)
                | Verdict::Refused(_),
            ) => Verdict::Refused(why.to_string()),
            (_, verdict) => verdict,
        };
        if login.abandoned {
            // To go away before the answer makes no guess cheaper.
            match verdict {
                Verdict::Refused(why) => self.refused(login_id, &why),
                Verdict::Unusable(why) => self.unusable(login_id, &why),
                _ => {}
            }
            self.logins.end(login_id);
            return Ok(());
        }
        let session = login_id.session;
        match verdict {
            Verdict::Granted(account) => {
                if self.admit(login_id, &account) {
                    self.logins.end(login_id);
                    return self.grant(session, account);
                }
            }
            Verdict::Identified(user) => self.look_up_account(login_id, user),
            Verdict::Challenge(first, exchange) => {
                login.await_proof(exchange, Instant::now());
                let first = Text::truncated(&first);
                self.answer(session, &AuthToFront::Challenge { session, first });
            }
            Verdict::Proved(signature, account) => {
                if !self.admit(login_id, &account) {
                    return Ok(());
                }
                if let (Some(login), Ok(signature)) =
                    (self.logins.get(login_id), Bytes::try_from(signature))
                {
                    login.await_proceed(account, Instant::now());
                    self.answer(session, &AuthToFront::Signature { session, signature });
                }
            }
            Verdict::Failed(why) => self.fail_temporarily(login_id, &why),
            Verdict::Unusable(why) => self.unusable(login_id, &why),
            Verdict::Refused(why) => self.refused(login_id, &why),
        }
        Ok(())
    }

    /// A token or a certificate is this user's: now for the account.
    fn look_up_account(&mut self, login_id: LoginId, user: UserName) {
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(login_id)) else {
            return;
        };
        let user = names::normal(user, &settings.configured.names);
        let asked = login.user.replace(user.clone());
        if asked.is_some_and(|asked| asked != user) {
            return self.refused(login_id, "what is shown is another user's");
        }
        // A child that names again whom it was to look for would go on for ever.
        if std::mem::replace(&mut login.identified, true) {
            return self.fail_temporarily(login_id, "named twice");
        }
        let peer = login.client.peer;
        let begun = match settings.configured.source.clone() {
            AccountSource::PasswdFile { path } => {
                self.submit(login_id, HashingTask::Account(path, Claim { user, peer }))
            }
            AccountSource::Checkpassword { .. } => {
                self.submit(login_id, HashingTask::SystemAccount(Claim { user, peer }))
            }
            AccountSource::Pam { service } => {
                let question = AuthToConversation::Pam {
                    service,
                    user,
                    secret: None,
                    peer,
                };
                self.start_conversation(login_id, &question, None)
            }
        };
        if let Err(why) = begun {
            self.fail_temporarily(login_id, &why);
        }
    }

    /// Whether an account whose credentials are right may log in now. If not, the login has failed or ended.
    fn admit(&mut self, login_id: LoginId, account: &Account) -> bool {
        let Some(settings) = &self.settings else {
            return false;
        };
        if let Err(why) = settings.admission.admit(account) {
            self.refused(login_id, &why);
            return false;
        }
        let login = self.logins.get(login_id);
        if let Some(user) = login.and_then(|login| login.user.as_ref()) {
            self.history.attempts.succeeded(user);
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
        let (intervals, user) = (&mut self.history.intervals, &account.name);
        if intervals.log_in(user, session, delay, now) {
            let granted = AuthToMonitor::Granted { session, account };
            return self.monitor.send(&granted);
        }
        if let Some(times) = self.log_limits.too_soon.may_log(user.clone(), now) {
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
    pub(super) fn fail_temporarily(&mut self, login_id: LoginId, why: &str) {
        let user = self.name_for_log(login_id);
        self.log_cannot_check(login_id.session, &user, why);
        self.logins.end(login_id);
        self.refuse(login_id.session, AuthRefusal::Temporary);
    }

    /// Says why something cannot be found out, and for how many since the line before: this is the last of them.
    pub(super) fn log_cannot_check(&mut self, session: SessionId, user: &str, why: &str) {
        if let Some(times) = self
            .log_limits
            .causes
            .may_log(why.to_owned(), Instant::now())
        {
            self.log.error(
                Some(session),
                "cannot check",
                &[("user", &user), ("why", &why), ("times", &times)],
            );
        }
    }

    /// The account's entry cannot be used, which only the operator learns. All else is as at any failure, its line of the log too:
    /// that takes longer than a digest, so that without it times would tell (P9).
    fn unusable(&mut self, login_id: LoginId, why: &str) {
        let user = self.name_for_log(login_id);
        self.log_cannot_check(login_id.session, &user, why);
        self.refused(login_id, why);
    }

    /// The credentials are wrong, or the account may not log in.
    fn refused(&mut self, login_id: LoginId, why: &str) {
        let user = self.name_for_log(login_id);
        if let Some(login) = self.logins.get(login_id) {
            self.log.notice(
                Some(login_id.session),
                "refused",
                &[("user", &user), ("peer", &login.client.peer), ("why", &why)],
            );
        }
        self.failed(login_id);
    }

    /// Counts a failure, and notes when it is told.
    fn failed(&mut self, login_id: LoginId) {
        let now = Instant::now();
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(login_id)) else {
            return;
        };
        let throttle = &settings.configured.throttle;
        let delay = Duration::from_millis(throttle.failure_delay_ms.into());
        login.fail(delay, now);
        self.history
            .penalties
            .failed(login.client.peer, throttle, now);
        let Some(user) = &login.user else { return };
        if self.history.attempts.failed(user, throttle, now) == Counted::Closes {
            self.log.warning(
                Some(login_id.session),
                "too many failures: nothing is checked for this user for a while",
                &[("user", user), ("peer", &login.client.peer)],
            );
        }
    }

    /// The name for a log line.
    fn name_for_log(&mut self, login_id: LoginId) -> String {
        let login = self.logins.get(login_id);
        let user = login.and_then(|login| login.user.as_ref());
        user.map_or_else(|| "-".to_owned(), UserName::to_string)
    }
}
