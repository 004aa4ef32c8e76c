//! The log of a process that works on one spool.

use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use popward_proto::log::Level;
use popward_sys::log::{Field, Log};
use std::fmt::Display;

/// A log whose records name the session and the user.
#[derive(Debug)]
pub struct SessionLog {
    pub(crate) log: Log,
    pub(crate) session: SessionId,
    pub(crate) user: UserName,
}

impl SessionLog {
    /// Logs what happened, with further `fields`.
    pub fn write(&self, level: Level, text: &str, fields: &[Field<'_>]) {
        let mut all: Vec<Field<'_>> = vec![("user", &self.user)];
        all.extend_from_slice(fields);
        self.log.write(level, Some(self.session), text, &all);
    }

    /// Logs what failed, and why.
    pub fn failed(&self, level: Level, text: &str, error: &dyn Display) {
        self.write(level, text, &[("error", error)]);
    }
}
