//! Starts popward-config to read the configuration: once at the start, and as another child at each
//! SIGHUP. The monitor opens none of the files itself.

use crate::config::{Config, Draft, Drafted};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::monitor_config::{ConfigToMonitor, MonitorToConfig, ReadingPhase};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity, Spawn, Spawner};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The executable's name. It lies beside popward's own executable, because only the configuration
/// says where the other executables are.
pub(crate) const EXECUTABLE: &str = "popward-config";

/// How long popward-config may take. It is long, because the names of users and groups may come
/// from another host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The channel to popward-config.
pub(crate) type ConfigChannel = Channel<MonitorToConfig, ConfigToMonitor>;

/// A running popward-config.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) child: Child,
    pub(crate) channel: ConfigChannel,
    pub(crate) log: OwnedFd,
}

/// Starts popward-config, and tells it to read the file `path`.
///
/// # Errors
///
/// Why it could not be started, in words for the operator. It is not started if others can change
/// its executable.
pub(crate) fn start(spawner: &mut Spawner, path: &Path) -> Result<Reader, String> {
    let own = std::env::current_exe().map_err(|error| format!("{EXECUTABLE}: {error}"))?;
    let executable = own.with_file_name(EXECUTABLE);
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", executable.display());
    let status = std::fs::metadata(&executable).map_err(|error| failed(&error))?;
    let user = nix::unistd::geteuid();
    if ![0, user.as_raw()].contains(&status.uid()) || status.mode() & 0o022 != 0 {
        return Err(failed(
            &"expected it to be root's and writable by nobody else",
        ));
    }
    let named = path
        .to_str()
        .and_then(|path| Text::try_from(path.to_owned()).ok());
    let named = named.ok_or("--config: expected a path of at most 4096 bytes, in UTF-8")?;
    let gid = nix::unistd::getgid().as_raw();
    // It has no supplementary groups, neither at the start nor at SIGHUP.
    let as_root = ChildIdentity {
        uid: 0,
        gid,
        effective_gid: gid,
        groups: Vec::new(),
        keep_chroot: false,
    };
    let identity = user.is_root().then_some(&as_root);
    let read = MonitorToConfig::Read {
        version: VERSION,
        path: named,
    };
    spawned(spawner, &executable, identity)
        .and_then(|(child, control, log)| {
            let channel: ConfigChannel = Channel::new(control, ReadingPhase::Base);
            channel.send(&read)?;
            channel.set_nonblocking().map_err(ChannelError::System)?;
            Ok(Reader {
                child,
                channel,
                log,
            })
        })
        .map_err(|error| failed(&error))
}

/// Starts an executable without a [`crate::children::Nursery`]. Returns the child, the socket of
/// its channel, and the socket of its log.
pub(crate) fn spawned(
    spawner: &mut Spawner,
    executable: &Path,
    identity: Option<&ChildIdentity>,
) -> Result<(Child, OwnedFd, OwnedFd), ChannelError> {
    let open = |path: &str, flags: OFlag| open(path, flags | OFlag::O_CLOEXEC, Mode::empty());
    let system = ChannelError::System;
    let null = open("/dev/null", OFlag::O_RDWR).map_err(system)?;
    // popward-config runs in this directory, because the path of the configuration may be relative.
    let here = open(".", OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(system)?;
    let (control, control_theirs) = socket_pair().map_err(system)?;
    let (log, log_theirs) = socket_pair().map_err(system)?;
    let name = executable.file_name().unwrap_or_default();
    let child = spawner
        .spawn(&Spawn {
            executable,
            arguments: &[&name.to_string_lossy()],
            null: null.as_fd(),
            descriptors: &[control_theirs.as_fd(), log_theirs.as_fd()],
            directory: here.as_fd(),
            identity,
        })
        .map_err(system)?;
    Ok((child, control, log))
}

/// Receives one packet, enters the phase that follows it, and adds the message to `draft`.
pub(crate) fn hear(
    channel: &mut ConfigChannel,
    draft: &mut Draft,
    buffer: &mut PacketBuffer,
) -> Result<Drafted, ChannelError> {
    let Packet::Message(message, files) = channel.receive(buffer)? else {
        return Ok(Drafted::Nonsense);
    };
    match message {
        ConfigToMonitor::Base(_) => channel.enter(ReadingPhase::Rest),
        ConfigToMonitor::End => channel.enter(ReadingPhase::Whole),
        _ => {}
    }
    Ok(draft.hear(message, files))
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// The configuration has a mistake. Another start would fail, too.
    Refused(String),
    /// popward-config did not finish. Another start may succeed.
    Failed(String),
    /// A signal ended the start.
    Ended,
}

/// Reads the configuration at the start. Returns it, or why there is none, and the warnings about
/// it. This function waits for popward-config, because the monitor has nothing else to do yet.
pub(crate) fn first(path: &Path) -> (Result<Config, NotRead>, Vec<String>) {
    let mut draft = Draft::of(path);
    let started = start(&mut Spawner::default(), path).map_err(NotRead::Failed);
    let read = started.and_then(|reader| all(reader, &mut draft));
    (read, draft.warnings)
}

fn all(mut reader: Reader, draft: &mut Draft) -> Result<Config, NotRead> {
    let until = Instant::now() + PATIENCE;
    let mut buffer = PacketBuffer::for_messages();
    let system = |errno: Errno| NotRead::Failed(errno.to_string());
    let signals = crate::events::ending_signals().map_err(system)?;
    let read = loop {
        match hear(&mut reader.channel, draft, &mut buffer) {
            Ok(Drafted::More) => {}
            Ok(Drafted::Whole(config)) => break Ok(*config),
            Ok(Drafted::Refused(why)) => break Err(NotRead::Refused(why)),
            Ok(Drafted::Nonsense) => {
                break Err(NotRead::Failed(format!("{EXECUTABLE} broke the rules")));
            }
            Err(ChannelError::WouldBlock) if wait(&[signals.as_fd()], Instant::now()) => {
                break Err(NotRead::Ended);
            }
            Err(ChannelError::WouldBlock)
                if wait(&[reader.channel.as_fd(), signals.as_fd()], until) => {}
            Err(ChannelError::WouldBlock) => break Err(NotRead::Failed(late())),
            Err(ChannelError::Closed) => {
                return Err(NotRead::Failed(gone(end(&reader.child, false))));
            }
            Err(error) => break Err(NotRead::Failed(format!("{EXECUTABLE}: {error}"))),
        }
    };
    end(&reader.child, true)
        .map_err(|errno| NotRead::Failed(gone(Err(errno))))
        .and(read)
}

/// The error about a popward-config that took too long.
pub(crate) fn late() -> String {
    format!("{EXECUTABLE} took longer than {} s", PATIENCE.as_secs())
}

/// The error about a popward-config that ended before it had sent everything.
pub(crate) fn gone(status: nix::Result<WaitStatus>) -> String {
    match status {
        Ok(WaitStatus::Exited(_, code)) => format!("{EXECUTABLE} ended with exit status {code}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("{EXECUTABLE} ended by {signal}"),
        Ok(status) => format!("{EXECUTABLE}: {status:?}"),
        Err(errno) => format!("{EXECUTABLE}: {errno}"),
    }
}

/// Waits until one of `descriptors` can be read or is closed. Returns false if none can be read
/// before `until`. A signal can make it return true early.
pub(crate) fn wait(descriptors: &[BorrowedFd<'_>], until: Instant) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let left = until.saturating_duration_since(Instant::now());
    let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    let each = descriptors.iter().copied();
    let mut ready: Vec<_> = each
        .map(|one| PollFd::new(one, PollFlags::POLLIN))
        .collect();
    match poll(&mut ready, patience) {
        Ok(count) => count > 0,
        Err(errno) => errno == Errno::EINTR && !left.is_zero(),
    }
}

/// Waits until the child has ended, and returns its exit status. With `kill`, kills the child
/// first. Without `kill`, the child must be about to end, because this waits without a limit.
pub(crate) fn end(child: &Child, kill: bool) -> nix::Result<WaitStatus> {
    if kill {
        crate::children::kill(child);
    }
    waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED)
}
