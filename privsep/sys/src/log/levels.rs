//! Records of each level, and of Qpopper's form.

use super::{Field, Log};
use crate::channel::{ChannelError, send_to};
use popward_proto::account::SessionId;
use popward_proto::bounded::{List, Text};
use popward_proto::log::{Level, Record};
use std::sync::atomic::Ordering;

impl Log {
    /// Logs a problem that an operator should look at.
    pub fn error(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Error, session, text, fields);
    }

    /// Logs a problem that popward has dealt with.
    pub fn warning(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Warning, session, text, fields);
    }

    /// Logs a normal event, such as a login.
    pub fn notice(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Notice, session, text, fields);
    }

    /// Logs progress.
    pub fn info(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Info, session, text, fields);
    }

    /// Logs a line in Qpopper's form, for programs that read Qpopper's log.
    pub fn qpopper(&self, text: &str) {
        let record = Record {
            level: Level::Notice,
            session: None,
            qpopper: true,
            text: Text::truncated(text),
            fields: List::default(),
        };
        if send_to(&self.socket, &record, &[]) == Err(ChannelError::WouldBlock) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
