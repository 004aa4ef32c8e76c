//! What only monitors and their sessions do: they read log records of children, and hear processes
//! that are not their children. The supervisor's children write to popward-log themselves.
//!
//! This code runs in processes that are root. A parent vouches for who a record comes from. It also
//! bounds how many records a child can write, because a child that was taken over could fill the
//! disk, and whom the records can name.

#![forbid(unsafe_code)]

use popward_parent::connected_child::ConnectedChild;
use popward_parent::events::{ChildId, Event, Events};
use popward_parent::log::LogWriter;
use popward_parent::process::{Launch, Starter};
use popward_proto::account::SessionId;
use popward_proto::bounded::{List, Text, UserName};
use popward_proto::log::{Level, NoMessage, Record};
use popward_proto::log_line::{Origin, Role};
use popward_proto::permit::Message;
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The fields about a client. Only fronts and auth know clients.
const OF_CLIENTS: [&str; 5] = ["peer", "port", "proxy", "proxy_session", "session"];

/// The children that write records, with their logs.
#[derive(Debug, Default)]
pub struct Logs(BTreeMap<ChildId, (Source, Channel<NoMessage, Record>)>);

impl Logs {
    /// Starts an executable with a channel, a log and, behind them, `rest`. `about` is the session
    /// and the user of a worker.
    ///
    /// # Errors
    ///
    /// As [`ConnectedChild::start`].
    pub fn start<S: Serialize, R: Message>(
        &mut self,
        starter: &mut Starter,
        launch: &Launch<'_>,
        about: Option<(SessionId, UserName)>,
        rest: &[BorrowedFd<'_>],
        phase: R::Phase,
    ) -> nix::Result<ConnectedChild<S, R>> {
        let (own, theirs) = socket_pair()?;
        let log = Channel::new(own, SetupPhase::Serving);
        log.set_nonblocking()?;
        let rest = [&[theirs.as_fd()], rest].concat();
        let mut child = ConnectedChild::start(starter, launch, &rest, phase)?;
        let event = Event::Second(child.id());
        if let Err(errno) = starter.events.watch(log.as_fd(), event) {
            let _ = child.process.end(true);
            return Err(errno);
        }
        let source = Source::new(child.process.origin(), about);
        self.0.insert(child.id(), (source, log));
        Ok(child)
    }

    /// Reads at most `most` records of a child, and passes them on.
    pub fn read(
        &mut self,
        id: ChildId,
        to: &mut LogWriter,
        events: &Events,
        buffer: &mut PacketBuffer,
        most: usize,
    ) {
        let Some((source, log)) = self.0.get_mut(&id) else {
            return;
        };
        for _ in 0..most {
            match log.receive(buffer) {
                Ok((record, _)) if source.may_write(to) => source.write(record, to),
                Ok(_) => {}
                Err(ChannelError::WouldBlock) => return,
                // What is no record is the last thing that is read from this log. The other channel
                // decides about the life of the child.
                Err(_) => {
                    source.end_second(to);
                    return self.forget(id, events);
                }
            }
        }
    }

    /// Reads no more records of a child.
    pub fn forget(&mut self, id: ChildId, events: &Events) {
        if let Some((_, log)) = self.0.remove(&id) {
            events.forget(log.as_fd());
        }
    }
}

/// What a parent knows of a child that writes records.
#[derive(Debug)]
struct Source {
    origin: Origin,
    /// The session and the user of a worker.
    about: Option<(SessionId, UserName)>,
    /// When the present second began, and the records in it.
    second: (Instant, u32),
}

impl Source {
    /// A child, and what its records are about if it is a worker.
    fn new(origin: Origin, about: Option<(SessionId, UserName)>) -> Self {
        let second = (Instant::now(), 0);
        Self {
            origin,
            about,
            second,
        }
    }

    /// Writes a record of this child, with what the parent knows in place of what the child says.
    fn write(&self, mut record: Record, log: &mut LogWriter) {
        record.qpopper &= self.origin.role == Role::Front;
        let mut fields = Vec::from(record.fields);
        if !self.origin.role.knows_clients() {
            // A text with `=` in it could pose as a field about another user.
            record.text = Text::truncated(&record.text.as_str().replace('=', ":"));
            record.session = self.about.as_ref().map(|about| about.0);
            fields.retain(|(name, _)| !OF_CLIENTS.contains(&name.as_str()));
            let user = self.about.as_ref().map_or("-", |about| about.1.as_str());
            let users = fields.iter_mut().filter(|field| field.0.as_str() == "user");
            users.for_each(|field| field.1 = Text::truncated(user));
        }
        record.fields = List::try_from(fields).unwrap_or_default();
        log.pass_on(self.origin, record);
    }

    /// Whether this child may write one more record now.
    fn may_write(&mut self, log: &mut LogWriter) -> bool {
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.end_second(log);
        }
        self.second.1 = self.second.1.saturating_add(1);
        self.second.1 <= self.origin.role.records_max()
    }

    /// Says how many records of the present second were left out. Begins another second.
    fn end_second(&mut self, log: &mut LogWriter) {
        let (_, records) = std::mem::replace(&mut self.second, (Instant::now(), 0));
        let Origin { role, pid } = self.origin;
        let count = records.saturating_sub(role.records_max());
        if count > 0 {
            let text = "a process writes too many log records: some of a second are left out";
            log.write(Level::Warning, text, &[("pid", &pid), ("records", &count)]);
        }
    }
}

/// Waits for packets from `channel`, which waits for nothing itself from now on. Returns its number.
///
/// # Errors
///
/// A system call failed.
pub fn watch_channel<S: Serialize, R: Message>(
    events: &mut Events,
    channel: &Channel<S, R>,
) -> nix::Result<ChildId> {
    channel.set_nonblocking()?;
    let id = events.next_id();
    events.watch(channel.as_fd(), Event::Control(id))?;
    Ok(id)
}

#[cfg(test)]
mod tests;
