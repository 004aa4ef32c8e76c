//! Starts the server's own executables for one mailbox: popward-adopt, and popward-worker. Each runs
//! as the user, under the user's locks and its own confinement, as sessions starts them.
//!
//! A worker gets what a front and sessions would tell it. If it leaves its dotlock, another worker
//! removes the dotlock, as the user.

use crate::executable;
use crate::mailbox::Mailbox;
use nix::sys::wait::WaitStatus;
use popward_parent::process::{how, readable};
use popward_proto::VERSION;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::bounded::{AbsolutePath, List};
use popward_proto::config_sessions::SessionsBase;
use popward_proto::log::{NoMessage, Record};
use popward_proto::session::{
    ClientPhase, FrontToWorker, OpenFailure, Request, Totals, WorkerToFront,
};
use popward_proto::sessions_worker::{
    Job, JobPhase, NOT_FINISHED, NOT_OPENED, SESSION_ARGUMENT, Scheme, SessionsToWorker, Task,
    WorkerToSessions,
};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, nonblocking_pair, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a process may take. A large spool on a slow disk takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often this process looks whether it has waited too long.
const STEP: Duration = Duration::from_secs(1);

/// How a process has ended, and what it has said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) status: WaitStatus,
    /// Its log.
    pub(crate) records: Vec<Record>,
    /// Whether it has finished an update that another process left.
    pub(crate) finished: bool,
    /// Why it has not opened the maildrop.
    pub(crate) refused: Option<OpenFailure>,
    /// What it has opened.
    pub(crate) opened: Option<Totals>,
    /// Whether it has begun to change the spool and is not done.
    updates: bool,
    dotlock: (u64, u64),
}

impl Ended {
    /// Of a process that has said nothing yet.
    fn nothing() -> Self {
        Self {
            status: WaitStatus::StillAlive,
            records: Vec::new(),
            finished: false,
            refused: None,
            opened: None,
            updates: false,
            dotlock: (0, 0),
        }
    }

    /// Whether it ended with this exit status.
    pub(crate) fn with(&self, code: u8) -> bool {
        matches!(self.status, WaitStatus::Exited(_, status) if status == i32::from(code))
    }

    /// Whether it leaves the spool half moved, so that another process must finish.
    fn is_torn(&self, task: Task) -> bool {
        let done = self.with(0) || self.with(NOT_OPENED);
        match task {
            // These change no spool.
            Task::Adopt | Task::Free { .. } => false,
            Task::Serve => !done && (self.updates || self.with(NOT_FINISHED)),
            Task::Finish { .. } => !done && !self.finished,
        }
    }

    /// The value of a field in the record with this text.
    pub(crate) fn logged(&self, text: &str, field: &str) -> Option<&str> {
        let record = self.records.iter().find(|one| one.text.as_str() == text)?;
        let fields = record.fields.as_slice();
        let found = fields.iter().find(|(name, _)| name.as_str() == field)?;
        Some(found.1.as_str())
    }

    /// Why it has not done its work, for the operator.
    pub(crate) fn why(&self) -> String {
        let mut all = self.records.iter().rev();
        let error = all.find_map(|record| {
            let fields = record.fields.as_slice();
            let error = fields.iter().find(|(name, _)| name.as_str() == "error");
            error.map(|(_, why)| why.as_str().to_owned())
        });
        error.unwrap_or_else(|| how(self.status))
    }
}

/// A job for one mailbox.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    /// Whose.
    pub(crate) mailbox: &'a Mailbox,
    /// What all sessions have in common.
    pub(crate) base: &'a SessionsBase,
    /// What to do.
    pub(crate) task: Task,
    /// The directory for the user's state.
    pub(crate) state: Option<&'a Path>,
    /// The schemes of the server before.
    pub(crate) adopt: &'a List<Scheme, { popward_proto::sessions_worker::SCHEMES_MAX }>,
}

impl Work<'_> {
    /// Has a process do it, and removes its dotlock. `while_open` is called while a worker with
    /// [`Task::Serve`] has the maildrop open. After that, the worker ends without an update.
    ///
    /// # Errors
    ///
    /// The process could not be started, took too long, or broke the rules.
    pub(crate) fn run(&self, while_open: impl FnOnce()) -> Result<Ended, String> {
        let executable = match self.task {
            Task::Adopt => "popward-adopt",
            Task::Serve | Task::Finish { .. } | Task::Free { .. } => "popward-worker",
        };
        let failed = |error: &dyn std::fmt::Display| format!("{executable}: {error}");
        let job = self.job().map_err(|error| failed(&error))?;
        let mut running = Running::start(executable, &job, self.identity().as_ref())
            .map_err(|why| failed(&why))?;
        let ended = running.watch(while_open).map_err(|why| failed(&why))?;
        let pid = running.child.pid;
        self.free(&ended, pid)?;
        Ok(ended)
    }

    /// Removes the dotlock of a process that has ended.
    fn free(&self, ended: &Ended, pid: u32) -> Result<(), String> {
        // No file has these numbers. Nobody should read a spool that is half moved, so its dotlock
        // stays.
        if ended.dotlock == (0, 0) || ended.is_torn(self.task) {
            return Ok(());
        }
        let dotlock = ended.dotlock;
        let removal = Work {
            task: Task::Free { pid, dotlock },
            state: None,
            ..*self
        };
        let removed = removal.run(|| ())?;
        if removed.with(0) {
            return Ok(());
        }
        Err(format!("dotlock not removed: {}", removed.why()))
    }

    fn identity(&self) -> Option<ChildIdentity> {
        let account = &self.mailbox.account;
        let group = self.mailbox.settings.spool.group;
        self.base.as_users.then(|| ChildIdentity {
            effective_gid: group.unwrap_or(account.gid),
            ..executable::as_user(account.uid, account.gid, self.mailbox.groups.clone())
        })
    }

    fn job(&self) -> Result<Job, &'static str> {
        /// How many processes this one has started.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let Mailbox {
            account, settings, ..
        } = self.mailbox;
        let state = self.state.map(|path| {
            AbsolutePath::try_from(path.to_string_lossy().into_owned())
                .map_err(|_| "the state directory's path is too long")
        });
        let groups = self.mailbox.groups.clone();
        Ok(Job {
            version: VERSION,
            // Fronts are counted from 1. No client has this session.
            session: SessionId::new(FrontId(0), STARTED.fetch_add(1, Ordering::Relaxed) + 1),
            task: self.task,
            user: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: List::try_from(groups).map_err(|_| "too many groups")?,
            spool_directory: self.mailbox.directory.clone(),
            spool_name: self.mailbox.name.clone(),
            state_directory: state.transpose()?,
            host: self.base.host.clone(),
            locks: settings.spool.locks,
            adopt: self.adopt.clone(),
            hide: settings.spool.hide.clone(),
        })
    }
}

/// A process at work. A channel is `None` once it has ended.
struct Running {
    child: Child,
    control: Option<Channel<SessionsToWorker, WorkerToSessions>>,
    log: Option<Channel<NoMessage, Record>>,
    front: Option<Channel<FrontToWorker, WorkerToFront>>,
    buffer: PacketBuffer,
    said: Ended,
}

impl Running {
    fn start(
        executable: &str,
        job: &Job,
        identity: Option<&ChildIdentity>,
    ) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let path = executable::beside(executable).map_err(|error| failed(&error))?;
        let (control, its_control) = socket_pair().map_err(|errno| failed(&errno))?;
        let (log, its_log) = socket_pair().map_err(|errno| failed(&errno))?;
        let (front, its_front) = nonblocking_pair().map_err(|errno| failed(&errno))?;
        let control = Channel::new(control, JobPhase::Working);
        let log = Channel::new(log, SetupPhase::Serving);
        control.set_nonblocking().map_err(|errno| failed(&errno))?;
        log.set_nonblocking().map_err(|errno| failed(&errno))?;
        let session = format!("{SESSION_ARGUMENT}{}", job.session);
        let sockets = [its_control.as_fd(), its_log.as_fd(), its_front.as_fd()];
        let child = executable::start(&path, &[executable, &session], identity, &sockets);
        let child = child.map_err(|errno| failed(&errno))?;
        // The first packet of an empty socket never waits. If it fails, the process finds its
        // channel closed and ends.
        let _ = control.send(&SessionsToWorker::Job(job.clone()));
        Ok(Self {
            child,
            control: Some(control),
            log: Some(log),
            front: Some(Channel::new(front, ClientPhase::Opening)),
            buffer: PacketBuffer::for_messages(),
            said: Ended::nothing(),
        })
    }

    /// Hears the process until it has ended.
    fn watch(&mut self, while_open: impl FnOnce()) -> Result<Ended, String> {
        let mut while_open = Some(while_open);
        let until = Instant::now() + PATIENCE;
        let mut over = None;
        loop {
            let ends = self.child.pidfd.as_fd();
            let has_ended = readable(&[ends], Instant::now());
            over = over.or(self.hear_control().err()).or(self.hear_log().err());
            match self.hear_front() {
                Ok(true) => {
                    while_open.take().into_iter().for_each(|call| call());
                    // The worker ends, and deletes nothing.
                    self.front = None;
                }
                Ok(false) => {}
                Err(error) => over = over.or(Some(error)),
            }
            // All that it said before its end has been heard after its end was seen.
            if has_ended {
                break;
            }
            if over.is_some() || Instant::now() >= until {
                let ended = self.child.end(true);
                ended.map_err(|errno| errno.to_string())?;
                let late = || format!("took longer than {} s", PATIENCE.as_secs());
                return Err(over.map_or_else(late, |error| error.to_string()));
            }
            readable(&self.open_ends(), until.min(Instant::now() + STEP));
        }
        let ended = self.child.end(false);
        self.said.status = ended.map_err(|errno| errno.to_string())?;
        Ok(std::mem::replace(&mut self.said, Ended::nothing()))
    }

    fn open_ends(&self) -> Vec<BorrowedFd<'_>> {
        let mut ends = vec![self.child.pidfd.as_fd()];
        ends.extend(self.control.iter().map(AsFd::as_fd));
        ends.extend(self.log.iter().map(AsFd::as_fd));
        ends.extend(self.front.iter().map(AsFd::as_fd));
        ends
    }

    fn hear_control(&mut self) -> Result<(), ChannelError> {
        while let Some(message) = next(&mut self.control, &mut self.buffer)? {
            match message {
                WorkerToSessions::Dotlock { device, inode } => self.said.dotlock = (device, inode),
                WorkerToSessions::Updates => self.said.updates = true,
                WorkerToSessions::Finished => {
                    self.said.finished = true;
                    self.said.updates = false;
                }
            }
        }
        Ok(())
    }

    fn hear_log(&mut self) -> Result<(), ChannelError> {
        while let Some(record) = next(&mut self.log, &mut self.buffer)? {
            // A process says a few lines. One that was taken over gets no more room.
            if self.said.records.len() < RECORDS_MAX {
                self.said.records.push(record);
            }
        }
        Ok(())
    }

    /// Returns whether the maildrop is open, and nothing is under way in the worker.
    fn hear_front(&mut self) -> Result<bool, ChannelError> {
        while let Some(message) = next(&mut self.front, &mut self.buffer)? {
            match message {
                WorkerToFront::Opened(totals) => {
                    self.said.opened = Some(totals);
                    // The answer comes after the worker has written its index.
                    if let Some(front) = &mut self.front {
                        front.enter(ClientPhase::Asked(Request::Totals));
                        front.send(&FrontToWorker::Stat)?;
                    }
                }
                WorkerToFront::NotOpened(why) => self.said.refused = Some(why),
                WorkerToFront::Totals(_) => return Ok(true),
                // The session has broken off, and the worker ends.
                _ => {}
            }
        }
        Ok(false)
    }
}

/// Most log records of a process that are kept.
const RECORDS_MAX: usize = 64;

/// The next message of a channel, if there is one. Closes a channel that has ended.
fn next<S: serde::Serialize, R: popward_proto::permit::Message>(
    channel: &mut Option<Channel<S, R>>,
    buffer: &mut PacketBuffer,
) -> Result<Option<R>, ChannelError> {
    let Some(open) = channel else {
        return Ok(None);
    };
    match open.receive(buffer) {
        Ok((message, _)) => Ok(Some(message)),
        Err(ChannelError::WouldBlock) => Ok(None),
        Err(ChannelError::Closed) => {
            *channel = None;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
