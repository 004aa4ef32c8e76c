//! The log of a process: it sends records to the monitor, which writes them.
//!
//! It never waits. A record that finds the channel full is lost and counted. The next record that
//! gets through is preceded by one that says how many were lost.

#[cfg(feature = "server")]
mod levels;

use crate::channel::{ChannelError, send_to, set_nonblocking};
use popward_proto::account::SessionId;
use popward_proto::bounded::{List, Text};
use popward_proto::log::{FIELDS_MAX, Level, Record};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// The socket for log records.
#[derive(Debug)]
pub struct Log {
    socket: OwnedFd,
    lost: AtomicU32,
}

/// One field of a record: its name and its value.
pub type Field<'a> = (&'a str, &'a dyn Display);

impl Log {
    /// The log over `socket`, which comes from the monitor.
    pub fn new(socket: OwnedFd) -> nix::Result<Self> {
        set_nonblocking(&socket)?;
        Ok(Self {
            socket,
            lost: AtomicU32::new(0),
        })
    }

    /// Sends a record. Texts, names and values that are too long are cut. Fields beyond
    /// [`FIELDS_MAX`] are left out.
    pub fn write(
        &self,
        level: Level,
        session: Option<SessionId>,
        text: &str,
        fields: &[Field<'_>],
    ) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let text_of_loss = "log records were lost";
        if lost > 0 && !self.send(Level::Warning, None, text_of_loss, &[("records", &lost)]) {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if !self.send(level, session, text, fields) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a record. `false`: there is no room for it now.
    fn send(
        &self,
        level: Level,
        session: Option<SessionId>,
        text: &str,
        fields: &[Field<'_>],
    ) -> bool {
        let fields: Vec<_> = fields
            .iter()
            .take(FIELDS_MAX)
            .map(|(name, value)| (Text::truncated(name), Text::truncated(&value.to_string())))
            .collect();
        let record = Record {
            level,
            session,
            qpopper: false,
            text: Text::truncated(text),
            fields: List::try_from(fields).unwrap_or_default(),
        };
        send_to(&self.socket, &record, &[]) != Err(ChannelError::WouldBlock)
    }
}
