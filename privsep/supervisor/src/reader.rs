//! Starts popward-config to read the configuration: once at the start, and as another child at each
//! reload. The supervisor opens none of the files itself.

use crate::config::{Config, Draft, Drafted, FromConfig};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::Mode;
use nix::sys::wait::WaitStatus;
use popward_parent::process::{Launch, Launcher, end, how, readable};
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::SupervisorToConfig;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use popward_sys::spawn::{Child, ChildIdentity};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The executable's name. It lies beside popward's own executable, because only the configuration
/// says where the other executables are.
pub(crate) const EXECUTABLE: &str = "popward-config";

/// How long popward-config may take. It is long, because the names of users and groups may come
/// from another host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running popward-config.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) child: Child,
    pub(crate) channel: FromConfig,
}

/// A user with one group.
pub(crate) fn identity(uid: u32, gid: u32) -> ChildIdentity {
    ChildIdentity {
        uid,
        gid,
        effective_gid: gid,
        groups: Vec::new(),
        keep_chroot: false,
    }
}

/// Root without supplementary groups. `None`: this process is not root.
pub(crate) fn as_root() -> Option<ChildIdentity> {
    let gid = nix::unistd::getgid().as_raw();
    let root = identity(0, gid);
    nix::unistd::geteuid().is_root().then_some(root)
}

/// Starts an executable with a channel, and no log of its own.
pub(crate) fn start_without_log(
    launcher: &mut Launcher,
    launch: &Launch<'_>,
) -> nix::Result<(Child, OwnedFd)> {
    let (control, theirs) = socket_pair()?;
    Ok((launcher.start_with(launch, &[theirs.as_fd()])?, control))
}

/// Starts popward-config, and tells it to read the file `path`. `excerpts` is whether errors show
/// the lines with the mistakes, for a terminal.
///
/// # Errors
///
/// Why it could not be started, in words for the operator. It is not started if others can change
/// its executable.
pub(crate) fn start(
    launcher: &mut Launcher,
    path: &Path,
    excerpts: bool,
) -> Result<Reader, String> {
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
    let read = SupervisorToConfig::Read {
        version: VERSION,
        path: named,
        excerpts,
    };
    // popward-config runs in this directory, because the path of the configuration may be relative.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let here = open(".", flags, Mode::empty()).map_err(|errno| failed(&errno))?;
    let identity = as_root();
    let launch = Launch {
        executable: &executable,
        command_line: &[EXECUTABLE],
        directory: here.as_fd(),
        identity: identity.as_ref(),
    };
    let started = start_without_log(launcher, &launch);
    let (child, control) = started.map_err(|errno| failed(&errno))?;
    let channel: FromConfig = Channel::new(control, SetupPhase::Starting);
    channel
        .send(&read)
        .and_then(|()| channel.set_nonblocking().map_err(ChannelError::System))
        .map_err(|error| failed(&error))?;
    Ok(Reader { child, channel })
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
/// it. This function waits for popward-config, because the supervisor has nothing else to do yet.
/// `ending` is readable after a signal that ends the server.
pub(crate) fn first(
    launcher: &mut Launcher,
    path: &Path,
    ending: &SignalFd,
) -> (Result<Config, NotRead>, Vec<String>) {
    let mut draft = Draft::of(path);
    let started = start(launcher, path, true).map_err(NotRead::Failed);
    let read = started.and_then(|reader| all(reader, &mut draft, ending));
    (read, draft.warnings)
}

fn all(mut reader: Reader, draft: &mut Draft, ending: &SignalFd) -> Result<Config, NotRead> {
    let until = Instant::now() + PATIENCE;
    let mut buffer = PacketBuffer::for_messages();
    let read = loop {
        match draft.hear(&mut reader.channel, &mut buffer) {
            Ok(Drafted::More) => {}
            Ok(Drafted::Whole(config)) => break Ok(config),
            Ok(Drafted::Refused(why)) => break Err(NotRead::Refused(why)),
            Err(ChannelError::WouldBlock) if readable(&[ending.as_fd()], Instant::now()) => {
                break Err(NotRead::Ended);
            }
            Err(ChannelError::WouldBlock)
                if readable(&[reader.channel.as_fd(), ending.as_fd()], until) => {}
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
pub(crate) fn gone(status: Result<WaitStatus, Errno>) -> String {
    match status {
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("{EXECUTABLE} ended by {signal}"),
        Ok(status) => format!("{EXECUTABLE} ended with {}", how(status)),
        Err(errno) => format!("{EXECUTABLE}: {errno}"),
    }
}
