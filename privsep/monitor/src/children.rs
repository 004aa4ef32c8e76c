//! The monitor's children: who they are, their channels, how they are started and how long one that died waits.

use crate::config::{Config, Draft};
use crate::events::{ChildId, Event, Events};
use crate::log::Origin;
use crate::reader::{self, ConfigChannel};
use crate::sessions::Session;
use nix::errno::Errno;
use popward_proto::account::FrontId;
use popward_proto::log::{LogPhase, NoMessage, Record};
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::monitor_worker::{MonitorToWorker, WorkerToMonitor};
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, Spawner};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The network process of this place among the fronts.
    Front(u32),
    /// Checks credentials.
    Auth,
    /// Signs.
    Keys,
    /// Serves one session.
    Worker,
    /// Reads the configuration.
    Config,
}

impl Role {
    /// The executable's name, and the process's.
    pub(crate) fn executable(self) -> &'static str {
        match self {
            Self::Front(_) => "popward-front",
            Self::Auth => "popward-auth",
            Self::Keys => "popward-keys",
            Self::Worker => "popward-worker",
            Self::Config => reader::EXECUTABLE,
        }
    }

    /// The name in the log.
    pub(crate) fn name(self) -> &'static str {
        &self.executable()["popward-".len()..]
    }
}

/// A front's channel, and which front it is.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) id: FrontId,
    pub(crate) channel: Channel<MonitorToFront, FrontToMonitor>,
    pub(crate) ready: bool,
    pub(crate) drained: bool,
}

/// The channel to a child, by its role.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every child is a worker")]
pub(crate) enum Link {
    Front(Front),
    Auth {
        channel: AuthChannel,
        ready: bool,
    },
    Keys {
        channel: Channel<MonitorToKeys, KeysToMonitor>,
        ready: bool,
    },
    Worker {
        channel: Channel<MonitorToWorker, WorkerToMonitor>,
        session: Session,
    },
    Config {
        channel: ConfigChannel,
        draft: Box<Draft>,
    },
}

pub(crate) type AuthChannel = Channel<MonitorToAuth, AuthToMonitor>;

impl Link {
    /// The channel's descriptor.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Front(front) => front.channel.as_fd(),
            Self::Auth { channel, .. } => channel.as_fd(),
            Self::Keys { channel, .. } => channel.as_fd(),
            Self::Worker { channel, .. } => channel.as_fd(),
            Self::Config { channel, .. } => channel.as_fd(),
        }
    }
}

/// A child process that has not been reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) child: Child,
    pub(crate) log: Channel<NoMessage, Record>,
    /// `None` once it broke the rules of its channel: it is being killed.
    pub(crate) link: Option<Link>,
    pub(crate) since: Instant,
    /// It has been waited for: its id may be another's.
    pub(crate) reaped: bool,
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
        let rootless = matches!(role, Role::Front(_) | Role::Keys);
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

/// Makes a child's log channel: the monitor never waits for a record.
pub(crate) fn log_channel(socket: OwnedFd) -> nix::Result<Channel<NoMessage, Record>> {
    let channel = Channel::new(socket, LogPhase::Open);
    channel.set_nonblocking()?;
    Ok(channel)
}

/// Makes a role's channel: the monitor never waits for a packet.
pub(crate) fn channel<S, R>(control: OwnedFd) -> nix::Result<Channel<S, R>>
where
    S: popward_proto::permit::Message,
    R: popward_proto::permit::Message<Phase = SetupPhase>,
{
    let channel = Channel::new(control, SetupPhase::Starting);
    channel.set_nonblocking()?;
    Ok(channel)
}

/// Waits for a child's channel, log and end.
pub(crate) fn watch(events: &Events, id: ChildId, process: &Process) -> nix::Result<()> {
    // Its end first: should the rest not be had, it is killed, and that must be seen.
    events.watch(process.child.pidfd.as_fd(), Event::Ended(id))?;
    if let Some(link) = &process.link {
        events.watch(link.as_fd(), Event::Control(id))?;
    }
    events.watch(process.log.as_fd(), Event::Log(id))
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
