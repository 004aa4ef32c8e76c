//! The processes of auth's conversations: popward-auth-pam, popward-auth-program and
//! popward-auth-proof.
//!
//! Auth says only which kind it needs. The executable, its user, the PAM service and the program
//! come from the configuration. The process has no channel to the monitor and no log. It ends once
//! auth closes its channel, or after the time limit. If it does not, the monitor kills it.

use crate::monitor::{FAREWELL, Monitor};
use crate::starter::launch;
use nix::errno::Errno;
use popward_parent::events::ChildId;
use popward_parent::process::Process;
use popward_proto::log_line::Role;
use popward_proto::monitor_auth::{
    AccountSource, AuthSettings, ConversationId, ConversationKind, MonitorToAuth, TokenSource,
};
use popward_sys::channel::socket_pair;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Whether a process of this role holds a conversation.
pub(crate) fn converses(role: Role) -> bool {
    matches!(role, Role::AuthPam | Role::AuthProgram | Role::AuthProof)
}

/// The executable for a conversation of this kind, and what it is to ask. `None`: the configuration
/// has no use for such a conversation.
fn what_to_start(auth: &AuthSettings, kind: ConversationKind) -> Option<(Role, String)> {
    use ConversationKind::{Checkpassword, Pam, Proof, TokenProgram};
    match (kind, &auth.source, &auth.tokens) {
        (Pam, AccountSource::Pam { service }, _) => Some((Role::AuthPam, service.to_string())),
        (Checkpassword, AccountSource::Checkpassword { program }, _)
        | (TokenProgram, _, Some(TokenSource::Program { program })) => {
            Some((Role::AuthProgram, program.to_string()))
        }
        // It asks nobody. What it checks against comes from auth.
        (Proof, ..) if auth.tokens.is_some() || auth.certificates.is_some() => {
            Some((Role::AuthProof, String::new()))
        }
        _ => None,
    }
}

impl Monitor {
    /// Auth needs a process for a conversation. Without one, auth gets a channel that is closed, and
    /// the login fails.
    pub(crate) fn converse(&mut self, auth: ChildId, id: ConversationId, kind: ConversationKind) {
        let Some((role, whom)) = what_to_start(&self.config.auth, kind) else {
            return self.banish(auth, &"it asks for a conversation that is not configured");
        };
        // Without a socket pair auth hears nothing, and its time limit ends the login.
        let Ok((auth_end, own_end)) = socket_pair() else {
            return;
        };
        let started = self.start_conversation(role, &whom, own_end.as_fd());
        if let Err(errno) = started {
            if self
                .of_conversations
                .may_log(role, Instant::now())
                .is_some()
            {
                self.log_not_started(role, errno);
            }
        }
        let auth = self.parts.auth.as_ref();
        let channel = auth.and_then(|auth| auth.channel.as_ref());
        if let Some(channel) = channel {
            // The monitor does not wait for an auth that does not read.
            let _ = channel.send_with(&MonitorToAuth::Conversation(id), &[auth_end.as_fd()]);
        }
    }

    fn start_conversation(
        &mut self,
        role: Role,
        whom: &str,
        socket: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let limits = self.config.auth.conversation_limits;
        let others = self.leaving.values();
        let others = others.filter(|(_, process)| converses(process.origin().role));
        // Auth never asks for more. It counts a conversation until its process has ended, but a
        // login that a token has identified goes on at once.
        if !self.serves() || others.count() >= 2 * usize::from(limits.at_once) {
            return Err(Errno::EAGAIN);
        }
        let limit_ms = limits.limit_ms.to_string();
        let words = [limit_ms.as_str(), whom];
        let launch = launch(&self.config, role, &words, self.parts.empty.as_ref())?;
        let process = Process::start(&mut self.starter, &launch, &[socket])?;
        let limit = Duration::from_millis(limits.limit_ms.into());
        let until = Instant::now() + limit + FAREWELL;
        self.leaving.insert(process.id(), (until, process));
        Ok(())
    }
}
