//! What follows from the verdict on a login: a grant, an answer to the front, a counted failure.

use super::state::Auth;
use crate::account::Claim;
use crate::hashing::HashingTask;
use crate::login::LoginId;
use crate::policy::attempts::Counted;
use crate::policy::names;
use crate::verdict::Verdict;
use popward_proto::account::{Account, SessionId};
use popward_proto::auth::{AuthRefusal, AuthToFront};
use popward_proto::auth_conversation::AuthToConversation;
use popward_proto::bounded::{Bytes, Text, UserName};
use popward_proto::monitor_auth::AccountSource;
use popward_sys::channel::ChannelError;
use std::time::{Duration, Instant};

impl Auth {
    /// Acts on the verdict on a login. An error is one of the channel to the monitor.
    pub(super) fn conclude(
        &mut self,
        login_id: LoginId,
        verdict: Verdict,
    ) -> Result<(), ChannelError> {
        let Some(login) = self.logins.get(login_id) else {
            return Ok(());
        };
        // The guess is over. If it was wrong, `failed` counts it.
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
            // A client cannot avoid the cost of a wrong guess by leaving before the answer.
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

    /// Looks up the account of a user whom a token or a certificate has identified.
    fn look_up_account(&mut self, login_id: LoginId, user: UserName) {
        let Some((settings, login)) = self.settings.as_ref().zip(self.logins.get(login_id)) else {
            return;
        };
        let user = names::normal(user, &settings.configured.names);
        let asked = login.user.replace(user.clone());
        if asked.is_some_and(|asked| asked != user) {
            return self.refused(login_id, "what is shown is another user's");
        }
        // Without this check, a broken process that identifies again would start an endless loop.
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
            AccountSource::Pam { .. } => {
                let question = AuthToConversation::Pam {
                    user,
                    secret: None,
                    peer,
                };
                self.start_conversation(login_id, question, None)
            }
        };
        if let Err(why) = begun {
            self.fail_temporarily(login_id, &why);
        }
    }

    /// Whether an account whose credentials are right may log in. If not, the login is refused
    /// here.
    fn admit(&mut self, login_id: LoginId, account: &Account) -> bool {
        let Some(settings) = &self.settings else {
            return false;
        };
        if let Err(why) = settings.admission.admit(account) {
            self.refused(login_id, &why);
            return false;
        }
        let login = self.logins.get(login_id);
        if let Some(user) = login.and_then(|login| login.user.clone()) {
            self.forget_failures(user);
        }
        true
    }

    /// Grants the session to the account, unless its last login was less than `auth.login_delay`
    /// ago.
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
            if !delay.is_zero() {
                self.pass_on_login(account.name.clone(), session);
                // The successor must know this login before sessions can say that its session
                // did not open.
                self.hand_over()?;
            }
            return self.tell_sessions(session, account);
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

    /// Ends a login that cannot be checked now.
    pub(super) fn fail_temporarily(&mut self, login_id: LoginId, why: &str) {
        let user = self.name_for_log(login_id);
        self.log_cannot_check(login_id.session, &user, why);
        self.logins.end(login_id);
        self.refuse(login_id.session, AuthRefusal::Temporary);
    }

    /// Logs why a login cannot be checked: one line a minute for each cause, with the count of
    /// logins since the line before. The line names the last of them.
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

    /// Refuses a login because the account's entry cannot be used. Only the log tells why.
    ///
    /// Everything else is as for a wrong password. So the refusal is logged a second time: writing
    /// that line takes longer than some digests, and without it the time would tell (P9).
    fn unusable(&mut self, login_id: LoginId, why: &str) {
        let user = self.name_for_log(login_id);
        self.log_cannot_check(login_id.session, &user, why);
        self.refused(login_id, why);
    }

    /// Refuses a login because the credentials are wrong or the account may not log in.
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

    /// Counts a failure and sets the time at which the client is told.
    pub(super) fn failed(&mut self, login_id: LoginId) {
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
        let (user, peer) = (login.user.clone(), login.client.peer);
        if let Some(user) = &user {
            if self.history.attempts.failed(user, throttle, now) == Counted::Closes {
                self.log.warning(
                    Some(login_id.session),
                    "too many failures: nothing is checked for this user for a while",
                    &[("user", user), ("peer", &peer)],
                );
            }
        }
        self.pass_on_failure(user, peer);
    }

    /// The user's name for a log line, or `-` if it is not known.
    fn name_for_log(&mut self, login_id: LoginId) -> String {
        let login = self.logins.get(login_id);
        let user = login.and_then(|login| login.user.as_ref());
        user.map_or_else(|| "-".to_owned(), UserName::to_string)
    }
}
