//! A process's voice: records to the monitor, which writes them. It never waits: a record that finds the channel
//! full is counted, and the next one that gets through says how many were lost.

use crate::channel::{Channel, ChannelError};
use popward_proto::account::SessionId;
use popward_proto::bounded::{List, Text};
use popward_proto::log::{FIELDS_MAX, Level, LogPhase, NoMessage, Record};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// The way to the log.
#[derive(Debug)]
pub struct Log {
    channel: Channel<Record, NoMessage>,
    lost: AtomicU32,
}

/// One field of a record: its name, and what it shows.
pub type Field<'a> = (&'a str, &'a dyn Display);

impl Log {
    /// The log over the socket that the monitor gave for it.
    pub fn new(socket: OwnedFd) -> nix::Result<Self> {
        let channel = Channel::new(socket, LogPhase::Open);
        channel.set_nonblocking()?;
        Ok(Self {
            channel,
            lost: AtomicU32::new(0),
        })
    }

    /// Something that somebody should look at.
    pub fn error(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Error, session, text, fields);
    }

    /// Something that was not as it should be, and was dealt with.
    pub fn warning(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Warning, session, text, fields);
    }

    /// Something normal that is worth a line.
    pub fn notice(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Notice, session, text, fields);
    }

    /// A line in Qpopper's words, for programs that read its log.
    pub fn qpopper(&self, text: &str) {
        let record = Record {
            level: Level::Notice,
            session: None,
            qpopper: true,
            text: Text::truncated(text),
            fields: List::default(),
        };
        if matches!(self.channel.send(&record), Err(ChannelError::WouldBlock)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Progress.
    pub fn info(&self, session: Option<SessionId>, text: &str, fields: &[Field<'_>]) {
        self.write(Level::Info, session, text, fields);
    }

    /// Writes a record. Texts, names and values beyond their bounds are cut; fields beyond the most are left out.
    pub fn write(
        &self,
        level: Level,
        session: Option<SessionId>,
        text: &str,
        fields: &[Field<'_>],
    ) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0
            && !self.send(
                Level::Warning,
                None,
                "log records were lost",
                &[("records", &lost)],
            )
        {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if !self.send(level, session, text, fields) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

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
        let Ok(fields) = List::try_from(fields) else {
            return false;
        };
        let record = Record {
            level,
            session,
            qpopper: false,
            text: Text::truncated(text),
            fields,
        };
        !matches!(self.channel.send(&record), Err(ChannelError::WouldBlock))
    }
}
