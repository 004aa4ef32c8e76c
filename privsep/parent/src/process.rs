//! Children: how they are started, what is known of each, and how a parent waits before it starts
//! again one that died.

use crate::events::{ChildId, Event, Events};
use crate::log::{LogWriter, Source};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use popward_proto::log::{LogPhase, NoMessage, Record};
use popward_proto::log_line::{Origin, Role};
use popward_proto::permit::Message;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, not_started, spawn};
use serde::Serialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Most packets that are read from a descriptor before others have their turn.
pub const TURN: usize = 64;

/// Most packets that are read from a descriptor of a process that has ended. No socket holds so
/// many, so none is lost. The bound matters if the process has given the socket to another one.
pub const REST: usize = 65_536;

/// How long a message may wait for a child to take it. The child's socket holds hundreds of
/// messages. A child that takes none for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts executables.
#[derive(Debug)]
pub struct Launcher {
    null: OwnedFd,
}

/// An executable to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The executable.
    pub executable: &'a Path,
    /// Its command line. The first word is the process's name.
    pub command_line: &'a [&'a str],
    /// Its working directory.
    pub directory: BorrowedFd<'a>,
    /// Its identity. `None`: that of the parent.
    pub identity: Option<&'a ChildIdentity>,
}

/// A child that was started, with the parent's ends of its sockets.
#[derive(Debug)]
pub struct Started {
    /// The child.
    pub child: Child,
    /// The socket of its channel to the parent.
    pub control: OwnedFd,
    /// The socket of its log.
    pub log: OwnedFd,
}

impl Launcher {
    /// Opens the null device.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn new() -> nix::Result<Self> {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { null })
    }

    /// Starts an executable with a channel, a log, and `extra` behind them.
    ///
    /// # Errors
    ///
    /// As [`spawn`].
    pub fn start(&self, launch: &Launch<'_>, extra: &[BorrowedFd<'_>]) -> Result<Started, Errno> {
        let (control, control_theirs) = socket_pair()?;
        let (log, log_theirs) = socket_pair()?;
        let mut descriptors = vec![control_theirs.as_fd(), log_theirs.as_fd()];
        descriptors.extend_from_slice(extra);
        let child = self.start_with(launch, &descriptors)?;
        Ok(Started {
            child,
            control,
            log,
        })
    }

    /// Starts an executable with these descriptors and no others.
    ///
    /// # Errors
    ///
    /// As [`spawn`].
    pub fn start_with(
        &self,
        launch: &Launch<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Child, Errno> {
        spawn(&Spawn {
            executable: launch.executable,
            arguments: launch.command_line,
            null: self.null.as_fd(),
            descriptors,
            directory: launch.directory,
            identity: launch.identity,
        })
    }
}

/// A child that is watched and has not been reaped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    source: Source,
    /// `None` if the parent does not read its log.
    log: Option<Channel<NoMessage, Record>>,
    since: Instant,
    /// It has been waited for, so another process can have its id.
    reaped: bool,
}

impl Process {
    /// Watches the end of a child, and its channel and its log if the parent has them. A child that
    /// cannot be watched is killed.
    ///
    /// # Errors
    ///
    /// A system call failed.
    pub fn watch(
        events: &Events,
        id: ChildId,
        (role, about): (Role, Option<(SessionId, UserName)>),
        (child, log): (Child, Option<OwnedFd>),
        channel: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Errno> {
        let log = log.map(|socket| Channel::new(socket, LogPhase::Open));
        let watched = events
            .watch(child.pidfd.as_fd(), Event::Ended(id))
            .and_then(|()| {
                channel.map_or(Ok(()), |channel| events.watch(channel, Event::Control(id)))
            })
            .and_then(|()| match &log {
                Some(log) => {
                    log.set_nonblocking()?;
                    events.watch(log.as_fd(), Event::Log(id))
                }
                None => Ok(()),
            });
        if let Err(errno) = watched {
            // It has done nothing yet, so its end takes no time.
            let _ = end(&child, true);
            return Err(errno);
        }
        let origin = Origin {
            role,
            pid: child.pid,
        };
        Ok(Self {
            child,
            source: Source::new(origin, about),
            log,
            since: Instant::now(),
            reaped: false,
        })
    }

    /// Who it is.
    pub fn origin(&self) -> Origin {
        self.source.origin()
    }

    /// How long it has lived.
    pub fn life(&self) -> Duration {
        self.since.elapsed()
    }

    /// Kills it, unless it was reaped.
    pub fn kill(&self) {
        if !self.reaped {
            kill(&self.child);
        }
    }

    /// Reaps it, if it has ended. The result says how it ended.
    pub fn reap(&mut self) -> Option<WaitStatus> {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let status = match waitid(Id::PIDFd(self.child.pidfd.as_fd()), options) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) => status,
            // A signal for which the library has no name has ended it.
            Err(_) => WaitStatus::Signaled(Pid::from_raw(0), Signal::SIGKILL, false),
        };
        self.reaped = true;
        Some(status)
    }

    /// Waits for its end, at most until then. Returns whether it has ended.
    pub fn ends_until(&self, until: Instant) -> bool {
        readable(&[self.child.pidfd.as_fd()], until)
    }

    /// Reads at most `most` of its records, and passes them on.
    pub fn read_log(
        &mut self,
        log: &mut LogWriter,
        events: &Events,
        buffer: &mut PacketBuffer,
        most: usize,
    ) {
        let Some(own) = &mut self.log else {
            return;
        };
        for _ in 0..most {
            match own.receive(buffer) {
                Ok((record, _)) => self.source.write(record, log),
                Err(ChannelError::WouldBlock) => return,
                // What is no record is the last thing that is read from this log. The other channel
                // decides about the life of the child.
                Err(_) => return events.forget(own.as_fd()),
            }
        }
    }

    /// Waits no longer for a process that was reaped.
    pub fn forget(&self, events: &Events) {
        events.forget(self.child.pidfd.as_fd());
        if let Some(log) = &self.log {
            events.forget(log.as_fd());
        }
    }
}

/// Kills a child that was not reaped.
fn kill(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.pid).unwrap_or(i32::MAX));
    // The child may have ended.
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
}

/// Waits until a child has ended, and reaps it. With `first_kill`, kills it before. Without it, the
/// child must be about to end, because this waits without a limit.
///
/// # Errors
///
/// The system call failed.
pub fn end(child: &Child, first_kill: bool) -> nix::Result<WaitStatus> {
    if first_kill {
        kill(child);
    }
    waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED)
}

/// How a process ended, for the log.
pub fn how(status: WaitStatus) -> String {
    if let Some(errno) = not_started(status) {
        return format!("an error before its exec: {errno}");
    }
    match status {
        WaitStatus::Exited(_, code) => format!("exit status {code}"),
        WaitStatus::Signaled(_, Signal::SIGSYS, _) => {
            "a system call that its filter forbids".into()
        }
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    }
}

/// Sends to a child. Waits a moment for a child that is busy.
///
/// # Errors
///
/// The child takes no message, or its channel has ended.
pub fn send<S: Serialize, R: Message>(
    channel: &Channel<S, R>,
    message: &S,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    send_until(channel, message, descriptors, Instant::now() + PATIENCE)
}

/// Sends to a child. Waits until then for a child that is busy.
///
/// # Errors
///
/// As [`send`].
pub fn send_until<S: Serialize, R: Message>(
    channel: &Channel<S, R>,
    message: &S,
    descriptors: &[BorrowedFd<'_>],
    until: Instant,
) -> Result<(), ChannelError> {
    loop {
        match channel.send_with(message, descriptors) {
            Err(ChannelError::WouldBlock) if Instant::now() < until => {
                let mut room = [PollFd::new(channel.as_fd(), PollFlags::POLLOUT)];
                // The result does not matter, because the next try shows whether there is room.
                let _ = poll(&mut room, PollTimeout::from(100u8));
            }
            result => return result,
        }
    }
}

/// Waits until one of `descriptors` can be read or is closed. Returns false if that does not happen
/// before `until`.
pub fn readable(descriptors: &[BorrowedFd<'_>], until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let each = descriptors.iter().copied();
        let mut ready: Vec<_> = each
            .map(|one| PollFd::new(one, PollFlags::POLLIN))
            .collect();
        match poll(&mut ready, patience) {
            Err(Errno::EINTR) => {}
            result => return result.is_ok_and(|count| count > 0),
        }
    }
}

/// When a process is started again: at once after a long life, later and later after short ones.
#[derive(Debug, Default)]
pub struct BackOff {
    deaths: u32,
}

impl BackOff {
    /// The wait after a life of `life`.
    pub fn after(&mut self, life: Duration) -> Duration {
        if life > Duration::from_secs(60) {
            self.deaths = 0;
        }
        let wait = Duration::from_millis(100) * 2u32.pow(self.deaths.min(7));
        self.deaths = self.deaths.saturating_add(1);
        wait.min(Duration::from_secs(10))
    }
}
