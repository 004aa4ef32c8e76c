//! Hands the work on a login to a hashing thread or to a conversation.

use super::state::Auth;
use crate::hashing::HashingTask;
use crate::login::LoginId;
use popward_proto::auth_conversation::AuthToConversation;
use popward_proto::monitor_auth::AuthToMonitor;
use std::fs::File;
use std::time::Duration;

/// The failure of a login beyond the limit on conversations.
pub(super) const CONVERSATIONS_REACHED: &str = "auth.conversations is reached";

impl Auth {
    /// Queues a task for the hashing threads. `Err` says for the log why there is no room.
    pub(super) fn submit(&self, login_id: LoginId, task: HashingTask) -> Result<(), String> {
        let taken = self.hashing.submit(login_id, task);
        taken.then_some(()).ok_or("too many wait".to_owned())
    }

    /// Begins a conversation, and asks the monitor for its process. `file` is the open file that the
    /// question needs, if any. `Err` says for the log why there is no conversation.
    pub(super) fn start_conversation(
        &mut self,
        login_id: LoginId,
        question: AuthToConversation,
        file: Option<File>,
    ) -> Result<(), String> {
        let Some(bounds) = self
            .settings
            .as_ref()
            .map(|settings| settings.configured.conversation_limits)
        else {
            return Err("no settings".to_owned());
        };
        // A process has just identified this login's user, and that process may still be ending. The
        // login takes its place, so it does not count as one more conversation.
        let goes_on = self
            .logins
            .get(login_id)
            .is_some_and(|login| login.identified);
        if !goes_on && self.conversations.count() >= usize::from(bounds.at_once) {
            return Err(CONVERSATIONS_REACHED.to_owned());
        }
        let limit = Duration::from_millis(bounds.limit_ms.into());
        let (id, kind) = self.conversations.begin(login_id, question, file, limit);
        let asked = self.monitor.send(&AuthToMonitor::Converse(id, kind));
        asked.map_err(|error| format!("conversation: {error}"))
    }
}
