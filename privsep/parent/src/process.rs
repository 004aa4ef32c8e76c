//! Children: how they are started, what is known of each, and how a parent waits before it starts
//! again one that died.

use crate::events::{ChildId, Event, Events};
use crate::log::LogWriter;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use popward_proto::log::Level;
use popward_proto::log_line::{Origin, Role};
use popward_proto::permit::Message;
use popward_sys::channel::{Channel, ChannelError};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, not_started, spawn};
use serde::Serialize;
use std::fmt::Display;
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

/// Starts executables, and waits for what their processes do.
#[derive(Debug)]
pub struct Starter {
    null: OwnedFd,
    root: OwnedFd,
    /// What the parent waits for.
    pub events: Events,
}

/// An executable to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The directory of the executables.
    pub libexec: &'a Path,
    /// What the process is for. Its executable has this name.
    pub role: Role,
    /// What follows the executable's name on its command line.
    pub words: &'a [&'a str],
    /// Its working directory. `None`: `/`.
    pub directory: Option<BorrowedFd<'a>>,
    /// Its identity. `None`: that of the parent.
    pub identity: Option<ChildIdentity>,
}

impl Starter {
    /// Opens what a start needs. The parent waits for `own`, and for nothing else yet.
    ///
    /// # Errors
    ///
    /// What could not be opened, and why.
    pub fn new(own: impl AsFd) -> Result<Self, String> {
        let open = |path, flags| {
            let opened = open(path, OFlag::O_CLOEXEC | flags, Mode::empty());
            opened.map_err(|errno| format!("{path}: {errno}"))
        };
        Ok(Self {
            null: open("/dev/null", OFlag::O_RDWR)?,
            root: open("/", OFlag::O_PATH | OFlag::O_DIRECTORY)?,
            events: Events::new(own).map_err(|errno| format!("event loop: {errno}"))?,
        })
    }
}

/// A child that is watched and has not been reaped.
#[derive(Debug)]
pub struct Process {
    id: ChildId,
    child: Child,
    origin: Origin,
    since: Instant,
    /// It has been waited for, so another process can have its id.
    reaped: bool,
}

impl Process {
    /// Starts an executable with these descriptors and no others, and watches its end. A child that
    /// cannot be watched is killed.
    ///
    /// # Errors
    ///
    /// A system call failed. See also [`spawn`].
    pub fn start(
        starter: &mut Starter,
        launch: &Launch<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> nix::Result<Self> {
        let name = format!("popward-{}", launch.role.name());
        let words = launch.words.iter().copied();
        let arguments: Vec<_> = [name.as_str()].into_iter().chain(words).collect();
        let child = spawn(&Spawn {
            executable: &launch.libexec.join(&name),
            arguments: &arguments,
            null: starter.null.as_fd(),
            descriptors,
            directory: launch.directory.unwrap_or(starter.root.as_fd()),
            identity: launch.identity.as_ref(),
        })?;
        let (id, role, pid) = (starter.events.next_id(), launch.role, child.pid);
        if let Err(errno) = starter.events.watch(&child.pidfd, Event::Ended(id)) {
            // It has done nothing yet, so its end takes no time.
            let _ = child.end(true);
            return Err(errno);
        }
        Ok(Self {
            id,
            child,
            origin: Origin { role, pid },
            since: Instant::now(),
            reaped: false,
        })
    }

    /// Its number.
    pub fn id(&self) -> ChildId {
        self.id
    }

    /// Who it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How long it has lived.
    pub fn life(&self) -> Duration {
        self.since.elapsed()
    }

    /// Kills it, unless it was reaped.
    pub fn kill(&self) {
        if !self.reaped {
            self.child.kill();
        }
    }

    /// Kills it, because it broke the rules of its channel or does not read it.
    pub fn banish(&self, error: &dyn Display, log: &mut LogWriter) {
        self.kill();
        let origin = self.origin();
        let fields: &[(&str, &dyn Display)] = &[
            ("process", &origin.role.name()),
            ("pid", &origin.pid),
            ("error", error),
        ];
        let text = "broke the rules of its channel: killed";
        log.write(Level::Error, text, fields);
    }

    /// Logs an end that is not in order. `about` are more fields.
    pub fn report(&self, status: WaitStatus, about: &[(&str, &dyn Display)], log: &mut LogWriter) {
        let (origin, how, seconds) = (self.origin(), how(status), self.life().as_secs());
        let fields: &[(&str, &dyn Display)] = &[
            ("process", &origin.role.name()),
            ("pid", &origin.pid),
            ("of", &how),
            ("seconds", &seconds),
        ];
        log.write(Level::Error, "process died", &[fields, about].concat());
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

    /// Waits until it has ended: see [`Child::end`]. It must not have been reaped.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub fn end(&mut self, first_kill: bool) -> nix::Result<WaitStatus> {
        self.reaped = true;
        self.child.end(first_kill)
    }

    /// Waits for its end, at most until then. Returns whether it has ended.
    pub fn ends_until(&self, until: Instant) -> bool {
        readable(&[self.child.pidfd.as_fd()], until)
    }

    /// Waits no longer for a process that was reaped.
    pub fn forget(&self, events: &Events) {
        events.forget(self.child.pidfd.as_fd());
    }
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
