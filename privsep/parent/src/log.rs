//! The way of log records to popward-log.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::bounded::{List, Text};
use popward_proto::log::{Level, NoMessage, Record};
use popward_proto::log_line::{Line, Origin, Role};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError};
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

/// How long a line may wait for a popward-log that is busy. Its socket holds many.
const PATIENCE_MS: u16 = 200;

/// Most lines that wait while there is no popward-log.
const WAITING_MAX: usize = 256;

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
        let channel = Channel::new(socket, SetupPhase::Serving);
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
    pub fn pass_on(&mut self, origin: Origin, record: Record) {
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

#[cfg(test)]
mod tests;
