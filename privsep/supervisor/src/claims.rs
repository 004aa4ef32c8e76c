//! Which sessions the users have, at all monitors. So the limits on a user's sessions hold while
//! two configurations serve.

use popward_parent::events::ChildId;
use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use popward_proto::supervisor_sessions::{Claim, Refusal};
use std::collections::BTreeMap;

/// All sessions, each with its monitor.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<SessionId, (ChildId, Claim)>);

impl Claims {
    /// Adds a session, if its user may have one more. Otherwise returns why not.
    ///
    /// - Each session waits for the spool's locks. So a limit keeps one user's logins from becoming
    ///   all of the server's processes.
    /// - Two adoptions would work in one directory, and the first to end would rename it.
    /// - A state directory is for one spool at a time. The locks of two spools would not keep its
    ///   journals apart.
    pub(crate) fn add(&mut self, monitor: ChildId, claim: Claim) -> Option<Refusal> {
        let all = self.0.values().map(|(_, other)| other);
        let theirs: Vec<&Claim> = all.filter(|other| other.user == claim.user).collect();
        let elsewhere =
            |other: &&Claim| (&other.directory, &other.spool) != (&claim.directory, &claim.spool);
        if theirs.len() >= claim.sessions_max as usize {
            return Some(Refusal::TooMany);
        }
        if theirs.iter().any(|other| other.adopts) {
            return Some(Refusal::Adopting);
        }
        if theirs.iter().any(elsewhere) {
            return Some(Refusal::Elsewhere);
        }
        self.0.insert(claim.session, (monitor, claim));
        None
    }

    /// Returns the sessions of a user, each with its monitor.
    pub(crate) fn sessions_of(&self, user: &UserName) -> Vec<(ChildId, SessionId)> {
        let all = self.0.iter();
        all.filter(|(_, (_, claim))| claim.user == *user)
            .map(|(session, (monitor, _))| (*monitor, *session))
            .collect()
    }

    /// popward-adopt does not work for this session any more.
    pub(crate) fn adopted(&mut self, session: SessionId) {
        if let Some((_, claim)) = self.0.get_mut(&session) {
            claim.adopts = false;
        }
    }

    /// A session has ended.
    pub(crate) fn release(&mut self, session: SessionId) {
        self.0.remove(&session);
    }

    /// A monitor has ended, and its sessions with it.
    pub(crate) fn release_all(&mut self, monitor: ChildId) {
        self.0.retain(|_, (of, _)| *of != monitor);
    }
}

#[cfg(test)]
mod tests;
