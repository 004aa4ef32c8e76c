//! The monitor's children: what is known of each kind, their channels, how they are started, and how long
//! the monitor waits before it starts one again that died.

use crate::config::{Config, Draft};
use crate::events::{ChildId, Event, Events};
use crate::log::Origin;
use crate::reader::ConfigChannel;
use crate::sessions::Session;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use popward_proto::account::FrontId;
use popward_proto::log::{LogPhase, NoMessage, Record};
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_worker::{MonitorToWorker, WorkerToMonitor};
use popward_proto::permit::Message;
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, Spawner};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Speaks with clients.
    Front,
    /// Checks credentials.
    Auth,
    /// Signs.
    Keys,
    /// Serves one session.
    Worker,
    /// Pins the old server's UIDLs before a user's first session.
    Adopt,
    /// Reads the configuration.
    Config,
}

impl Role {
    /// The executable's name, and the process's.
    pub(crate) fn executable(self) -> &'static str {
        match self {
            Self::Front => "popward-front",
            Self::Auth => "popward-auth",
            Self::Keys => "popward-keys",
            Self::Worker => "popward-worker",
            Self::Adopt => "popward-adopt",
            Self::Config => crate::reader::EXECUTABLE,
        }
    }

    /// The name in the log.
    pub(crate) fn name(self) -> &'static str {
        &self.executable()["popward-".len()..]
    }
}

/// A child process that has not been reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) child: Child,
    pub(crate) log: Channel<NoMessage, Record>,
    pub(crate) since: Instant,
    /// It has been waited for: its id may be another's.
    pub(crate) reaped: bool,
}

/// A child with a channel of its own kind.
#[derive(Debug)]
pub(crate) struct Connected<S: Message, R: Message> {
    pub(crate) process: Process,
    /// `None` once it broke the rules of its channel: it is being killed.
    pub(crate) channel: Option<Channel<S, R>>,
    /// It has said that it can serve.
    pub(crate) ready: bool,
}

/// Auth.
pub(crate) type Auth = Connected<MonitorToAuth, AuthToMonitor>;

/// Keys.
pub(crate) type Keys = Connected<MonitorToKeys, KeysToMonitor>;

/// A front.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) id: FrontId,
    pub(crate) own: Connected<MonitorToFront, FrontToMonitor>,
    /// Its last connection has ended.
    pub(crate) drained: bool,
}

/// A worker, and its session, which is still to be cleared away when it has ended.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) channel: Channel<MonitorToWorker, WorkerToMonitor>,
    pub(crate) session: Session,
}

/// A popward-config, and what it has said so far.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) process: Process,
    pub(crate) channel: ConfigChannel,
    pub(crate) draft: Draft,
    /// By when it must have said everything. `None`: what it says is of no interest any more.
    pub(crate) until: Option<Instant>,
}

impl Process {
    /// Who it is, to the log.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            role: self.role.name(),
            pid: self.child.pid,
        }
    }

    /// Ends it, if it has not ended: until it is reaped its id is nobody else's.
    pub(crate) fn kill(&self) {
        if !self.reaped {
            kill(&self.child);
        }
    }
}

/// Ends a child that is not reaped.
pub(crate) fn kill(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.pid).unwrap_or(i32::MAX));
    // It may have ended by itself.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

impl<S: Message, R: Message> Connected<S, R> {
    /// Sends to it, if it has its channel still. An error says that it does not read.
    pub(crate) fn send(&self, message: &S, files: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let channel = self.channel.as_ref();
        channel.map_or(Ok(()), |channel| send(channel, message, files))
    }
}

impl<S: Message, R: Message<Phase = SetupPhase>> Connected<S, R> {
    /// It can serve.
    pub(crate) fn enter_service(&mut self) {
        self.ready = true;
        if let Some(channel) = &mut self.channel {
            channel.enter(SetupPhase::Serving);
        }
    }

    /// Watches a child that was started. The monitor never waits for room in its channel.
    pub(crate) fn adopt(
        events: &Events,
        id: ChildId,
        (role, child, sockets): (Role, Child, Sockets),
    ) -> Result<Self, Errno> {
        let channel = Channel::new(sockets.control, SetupPhase::Starting);
        let process = Process::adopt(events, id, (role, child, sockets.log), channel.as_fd())?;
        channel.set_nonblocking()?;
        Ok(Self {
            process,
            channel: Some(channel),
            ready: false,
        })
    }
}

impl Process {
    /// Watches a child's channel, its log and its end. A child that cannot be watched is ended.
    pub(crate) fn adopt(
        events: &Events,
        id: ChildId,
        (role, child, log): (Role, Child, OwnedFd),
        channel: BorrowedFd<'_>,
    ) -> Result<Self, Errno> {
        let log = Channel::new(log, LogPhase::Open);
        let watched = log
            .set_nonblocking()
            .and_then(|()| events.watch(child.pidfd.as_fd(), Event::Ended(id)))
            .and_then(|()| events.watch(channel, Event::Control(id)))
            .and_then(|()| events.watch(log.as_fd(), Event::Log(id)));
        if let Err(errno) = watched {
            kill(&child);
            // It has done nothing yet: this takes no time.
            let _ = waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED);
            return Err(errno);
        }
        let (since, reaped) = (Instant::now(), false);
        Ok(Self {
            role,
            child,
            log,
            since,
            reaped,
        })
    }
}

/// The sockets of a child, as its parent sees them.
pub(crate) struct Sockets {
    pub(crate) control: OwnedFd,
    pub(crate) log: OwnedFd,
}

/// What is needed to start anything.
#[derive(Debug)]
pub(crate) struct Nursery {
    pub(crate) spawner: Spawner,
    /// The null device.
    pub(crate) null: OwnedFd,
    /// `/`.
    pub(crate) root: OwnedFd,
    /// An empty directory, for those whose root it becomes.
    pub(crate) empty: OwnedFd,
}

impl Nursery {
    /// Starts an executable of `role` with channels to the monitor and `extra` behind them. The
    /// command line's first word is the executable's name.
    pub(crate) fn start(
        &mut self,
        config: &Config,
        (role, command_line): (Role, &[&str]),
        identity: Option<&ChildIdentity>,
        extra: &[BorrowedFd<'_>],
    ) -> Result<(Child, Sockets), Errno> {
        let (control, control_theirs) = socket_pair()?;
        let (log, log_theirs) = socket_pair()?;
        let mut descriptors = vec![control_theirs.as_fd(), log_theirs.as_fd()];
        descriptors.extend_from_slice(extra);
        let rootless = matches!(role, Role::Front | Role::Keys);
        let executable = command_line.first().copied();
        let path = config.libexec.join(executable.unwrap_or(role.executable()));
        let child = self.spawner.spawn(&Spawn {
            executable: &path,
            arguments: command_line,
            null: self.null.as_fd(),
            descriptors: &descriptors,
            directory: if rootless {
                self.empty.as_fd()
            } else {
                self.root.as_fd()
            },
            identity,
        })?;
        Ok((child, Sockets { control, log }))
    }
}

/// How long a message may wait for a child to take it. Its socket holds hundreds: a child that takes none of them for
/// so long is stuck, and is ended and started again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends to a child that ought to read, and waits a moment for one that is busy.
pub(crate) fn send<S, R>(
    channel: &Channel<S, R>,
    message: &S,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ChannelError>
where
    S: popward_proto::permit::Message,
    R: popward_proto::permit::Message,
{
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let until = Instant::now() + PATIENCE;
    loop {
        match channel.send_with(message, descriptors) {
            Err(ChannelError::WouldBlock) if Instant::now() < until => {
                let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLOUT)];
                // What went wrong shows at the next try.
                let _ = poll(&mut wait, PollTimeout::from(100u8));
            }
            result => return result,
        }
    }
}

/// When one that died is started again: at once after a long life, later and later after short ones.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    deaths: u32,
}

impl BackOff {
    /// The wait after a life of `life`.
    pub(crate) fn after(&mut self, life: Duration) -> Duration {
        if life > Duration::from_secs(60) {
            self.deaths = 0;
        }
        let wait = Duration::from_millis(100) * 2u32.pow(self.deaths.min(7));
        self.deaths = self.deaths.saturating_add(1);
        wait.min(Duration::from_secs(10))
    }
}
