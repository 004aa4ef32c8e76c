//! The way of log records to popward-log: those of this process, and those of its children.
//!
//! A parent vouches for who a record comes from. It also bounds how many records a worker can
//! write, and about whom, because a worker runs as a user of the host.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::account::SessionId;
use popward_proto::bounded::{List, Text, UserName};
use popward_proto::log::{Level, LogPhase, NoMessage, Record};
use popward_proto::log_line::{Line, Origin, Role};
use popward_sys::channel::{Channel, ChannelError};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a line may wait for a popward-log that is busy. Its socket holds many.
const PATIENCE_MS: u16 = 200;

/// Most lines that wait while there is no popward-log.
const WAITING_MAX: usize = 256;

/// Most records of a worker in a second.
const WORKER_RECORDS_MAX: u32 = 100;

/// The fields about a client. Only fronts and auth know clients.
const OF_CLIENTS: [&str; 5] = ["peer", "port", "proxy", "proxy_session", "session"];

/// The channel to popward-log.
#[derive(Debug)]
pub struct LogWriter {
    own: Origin,
    level: Level,
    channel: Option<Channel<Line, NoMessage>>,
    /// Lines that wait for a channel.
    waiting: Vec<Line>,
    /// Lines that popward-log did not take.
    lost: u32,
    /// Whether the last line was taken.
    taken: bool,
}

impl LogWriter {
    /// A log without a channel, for this process. Lines less important than `level` are not sent.
    pub fn new(role: Role, level: Level) -> Self {
        let pid = std::process::id();
        Self {
            own: Origin { role, pid },
            level,
            channel: None,
            waiting: Vec::new(),
            lost: 0,
            taken: true,
        }
    }

    /// Sends lines over `socket` from now on.
    pub fn connect(&mut self, socket: OwnedFd) {
        let channel = Channel::new(socket, LogPhase::Open);
        // Without this a popward-log that hangs would stop the parent.
        self.channel = channel.set_nonblocking().is_ok().then_some(channel);
        self.taken = true;
        for line in std::mem::take(&mut self.waiting) {
            self.send(line);
        }
    }

    /// Sends no more lines.
    pub fn disconnect(&mut self) {
        self.channel = None;
    }

    /// Sets the least important level that is written.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Writes a record of this process.
    pub fn write(&mut self, level: Level, text: &str, fields: &[(&str, &dyn Display)]) {
        let fields = fields.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (Text::truncated(name), Text::truncated(&value.to_string())))
            .collect();
        let record = Record {
            level,
            session: None,
            qpopper: false,
            text: Text::truncated(text),
            fields: List::try_from(fields).unwrap_or_default(),
        };
        self.pass_on(self.own, record);
    }

    /// Writes a record of the process `origin`.
    fn pass_on(&mut self, origin: Origin, record: Record) {
        if record.level > self.level {
            return;
        }
        if self.lost > 0 && self.taken && self.channel.is_some() {
            let lost = std::mem::take(&mut self.lost);
            self.write(
                Level::Warning,
                "log records were lost",
                &[("records", &lost)],
            );
            if self.lost > 0 {
                self.lost = self.lost.saturating_add(lost);
            }
        }
        self.send(Line { origin, record });
    }

    fn send(&mut self, line: Line) {
        let Some(channel) = &self.channel else {
            return self.keep(line);
        };
        let mut sent = channel.send(&line);
        if sent == Err(ChannelError::WouldBlock) && self.taken {
            let mut room = [PollFd::new(channel.as_fd(), PollFlags::POLLOUT)];
            // The result does not matter, because the second try shows whether there is room.
            let _ = poll(&mut room, PollTimeout::from(PATIENCE_MS));
            sent = channel.send(&line);
        }
        self.taken = sent != Err(ChannelError::WouldBlock);
        match sent {
            Ok(()) => {}
            Err(ChannelError::WouldBlock) => self.lost = self.lost.saturating_add(1),
            // popward-log has ended. The supervisor starts another one and sends a new channel.
            Err(_) => {
                self.channel = None;
                self.keep(line);
            }
        }
    }

    /// Keeps a line until there is a channel.
    fn keep(&mut self, line: Line) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(line);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }
}

/// What a parent knows of a child that writes records.
#[derive(Debug)]
pub struct Source {
    origin: Origin,
    /// The session and the user of a worker.
    about: Option<(SessionId, UserName)>,
    /// When the present second began, and the records in it.
    second: (Instant, u32),
}

impl Source {
    /// A child, and what its records are about if it is a worker.
    pub fn new(origin: Origin, about: Option<(SessionId, UserName)>) -> Self {
        let second = (Instant::now(), 0);
        Self {
            origin,
            about,
            second,
        }
    }

    /// Who it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Writes a record of this child, with what the parent knows in place of what the child says.
    pub fn write(&mut self, mut record: Record, log: &mut LogWriter) {
        record.qpopper &= self.origin.role == Role::Front;
        let mut fields = Vec::from(record.fields);
        if !matches!(self.origin.role, Role::Front | Role::Auth) {
            fields.retain(|(name, _)| !OF_CLIENTS.contains(&name.as_str()));
        }
        if self.about.is_some() && !self.may_write(log) {
            return;
        }
        if let Some((session, user)) = &self.about {
            record.session = Some(*session);
            // A text with `=` in it could pose as a field about another user.
            record.text = Text::truncated(&record.text.as_str().replace('=', ":"));
            for (_, value) in fields
                .iter_mut()
                .filter(|(name, _)| name.as_str() == "user")
            {
                *value = Text::truncated(user.as_str());
            }
        }
        record.fields = List::try_from(fields).unwrap_or_default();
        log.pass_on(self.origin, record);
    }

    /// Whether a worker may write one more record now.
    fn may_write(&mut self, log: &mut LogWriter) -> bool {
        let (began, records) = self.second;
        if began.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 1);
            return true;
        }
        self.second.1 = records.saturating_add(1);
        if records == WORKER_RECORDS_MAX {
            let pid = self.origin.pid;
            let text = "a worker writes too many log records: those of this second are left out";
            log.write(Level::Warning, text, &[("pid", &pid)]);
        }
        records < WORKER_RECORDS_MAX
    }
}

#[cfg(test)]
mod tests;
