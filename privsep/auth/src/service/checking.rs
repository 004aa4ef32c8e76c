//! How the check of a login begins: waits, then a task for a thread or a conversation.

use super::state::Auth;
use super::tasks::CONVERSATIONS_REACHED;
use crate::account::Claim;
use crate::hashing::HashingTask;
use crate::login::{Evidence, LoginId};
use crate::policy::attempts::Turn;
use crate::policy::names;
use crate::trusted_file;
use crate::verdict::Verdict;
use popward_proto::auth::{Client, Credentials};
use popward_proto::auth_conversation::AuthToConversation;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::monitor_auth::{AccountSource, TokenSource};
use popward_proto::network::Network;
use popward_sys::channel::ChannelError;
use std::time::{Duration, Instant};

/// How long a login may wait for a free conversation, or for other logins by the same name.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The time between two tries of a login that waits.
const QUEUE_RETRY: Duration = Duration::from_millis(100);

/// Why no check was started.
enum NotStarted {
    /// The configuration has no source that could check such credentials.
    NotOffered,
    /// There is no room, or a file cannot be opened. The text is for the log.
    Failed(String),
}

impl From<String> for NotStarted {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// The user's name in the credentials. `None` for a token or a certificate without one.
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
    /// Begins the check of a login. If its source has failed too often, the login waits first.
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

    /// Starts the check of credentials or of a proof, or makes the login wait for others.
    ///
    /// The failures of the name count as they are now. A login that has waited may find that
    /// nothing is checked for its name any more.
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
                let task = HashingTask::Prove(exchange, proof);
                self.submit(login_id, task).map_err(NotStarted::Failed)
            }
            Evidence::Credentials(credentials) => self.ask(login_id, user, client, credentials),
        };
        match asked {
            Ok(()) => Ok(()),
            Err(NotStarted::NotOffered) => {
                let why = "no secret is kept for this mechanism".to_owned();
                self.conclude(login_id, Verdict::Refused(why))
            }
            Err(NotStarted::Failed(why)) => {
                self.fail_temporarily(login_id, &why);
                Ok(())
            }
        }
    }

    /// Makes a login wait for its next try. Once it has waited for [`QUEUE_WAIT_MAX`], it fails.
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

    /// Whether the check needs a conversation while all permitted ones are taken.
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

    /// Starts the check of credentials, by the account source that is configured.
    fn ask(
        &mut self,
        login_id: LoginId,
        user: Option<UserName>,
        Client { peer, .. }: Client,
        credentials: Credentials,
    ) -> Result<(), NotStarted> {
        let Some(settings) = &self.settings else {
            return Err(NotStarted::NotOffered);
        };
        let told = &settings.configured;
        let (question, file) = match (credentials, user) {
            (Credentials::Token { token, .. }, _) => match told.tokens.clone() {
                None => return Err(NotStarted::NotOffered),
                Some(TokenSource::Program { .. }) => {
                    (AuthToConversation::TokenProgram { token, peer }, None)
                }
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
                let rules = told.certificates.clone().ok_or(NotStarted::NotOffered)?;
                let question = AuthToConversation::Certificate {
                    name: rules.name,
                    chain,
                    signed,
                    scheme,
                    signature,
                };
                (question, Some(rules.authorities))
            }
            (_, None) => return Err(NotStarted::NotOffered),
            (shown, Some(user)) => match (told.source.clone(), shown) {
                (AccountSource::PasswdFile { path }, shown) => {
                    let task = HashingTask::Check(path, Claim { user, peer }, shown);
                    return Ok(self.submit(login_id, task)?);
                }
                (AccountSource::Pam { .. }, Credentials::Password { secret, .. }) => {
                    let secret = Some(secret);
                    (AuthToConversation::Pam { user, secret, peer }, None)
                }
                (AccountSource::Checkpassword { .. }, Credentials::Password { secret, .. }) => (
                    AuthToConversation::Checkpassword { user, secret, peer },
                    None,
                ),
                _ => return Err(NotStarted::NotOffered),
            },
        };
        let open = |path: AbsolutePath| {
            trusted_file::open(path.as_path()).map_err(|error| format!("{path}: {error}"))
        };
        let file = file.map(open).transpose()?;
        Ok(self.start_conversation(login_id, question, file)?)
    }
}
