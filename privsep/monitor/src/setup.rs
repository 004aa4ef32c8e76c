//! The start of a monitor: it receives what it needs, gives up what it does not need, and starts
//! sessions.

use crate::config::{Config, ConfigChannel, receive};
use crate::monitor::{Monitor, Supervisor};
use crate::parts::{Listener, Sessions};
use crate::start_error::StartError;
use crate::starter::{Starter, identity};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use popward_parent::events::Events;
use popward_parent::log::LogWriter;
use popward_proto::VERSION;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{Start, SupervisorToMonitor};
use popward_sys::capabilities::Capabilities;
use popward_sys::channel::{ChannelError, PacketBuffer, socket_pair};
use popward_sys::confine::{self, Identity, NotConfined};
use std::os::fd::{AsFd, OwnedFd};

/// What the monitor keeps of root's capabilities. With `CAP_SETUID` it could become anybody, so the
/// list does not make the monitor harmless: it makes a mistake with a path or a socket harmless.
const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL)
    .with(Capabilities::SYS_CHROOT);

/// Runs a monitor from its start to its end. `of_sessions` is what the supervisor gives sessions: the
/// ends of the channels for log lines, for the configuration, and for claims. After an error at the start, returns the channel to the supervisor too,
/// so that the supervisor can be told.
pub(crate) fn run(
    mut supervisor: Supervisor,
    mut config: ConfigChannel,
    log_socket: OwnedFd,
    of_sessions: [OwnedFd; 3],
) -> Result<(), (Supervisor, StartError)> {
    let given = confine()
        .map_err(StartError::Confine)
        .and_then(|()| collect(&mut supervisor))
        .and_then(|(start, listeners)| {
            let config = receive(&mut config, start.common.clone());
            Ok((config.map_err(StartError::Supervisor)?, start, listeners))
        });
    drop(config);
    let (mut config, start, listeners) = match given {
        Ok(given) => given,
        Err(error) => return Err((supervisor, error)),
    };
    let front = &mut config.base.front;
    front.connections_known = start.connections_before == Some(front.limits.connections);
    let opened = open(&config, &supervisor).and_then(|mut starter| {
        if start.trial {
            return Ok((starter, None));
        }
        let sessions = start_sessions(&config, &mut starter, &of_sessions);
        let failed = |errno| StartError::System("popward-sessions not started", errno);
        Ok((starter, Some(sessions.map_err(failed)?)))
    });
    drop(of_sessions);
    let (starter, sessions) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err((supervisor, error)),
    };
    let mut log = LogWriter::new(Role::Monitor, config.common.log_level);
    log.connect(log_socket);
    let mut monitor = Monitor::new(config, supervisor, log, starter, sessions);
    monitor.listeners = listeners;
    monitor.first_front = start.first_front;
    monitor.oldest = start.oldest;
    monitor.run(start.trial);
    Ok(())
}

/// Starts sessions.
fn start_sessions(
    config: &Config,
    starter: &mut Starter,
    [log, of_config, claims]: &[OwnedFd; 3],
) -> Result<Sessions, Errno> {
    let (control, theirs) = socket_pair()?;
    let descriptors = [
        theirs.as_fd(),
        log.as_fd(),
        of_config.as_fd(),
        claims.as_fd(),
    ];
    let identity = identity(config, Role::Sessions);
    let child = starter.start_with(Role::Sessions, &[], identity.as_ref(), &descriptors)?;
    Sessions::watch(&mut starter.events, Role::Sessions, (child, None), control)
}

/// Gives up what is not kept, and proves it. `no_new_privs` is not set here: SELinux and AppArmor
/// could then no longer change domains at the execs. Each child sets it for itself. The supervisor
/// has forbidden the calls of [`popward_sys::seccomp::denials`] for itself and its children.
fn confine() -> Result<(), NotConfined> {
    let limit = |errno| NotConfined::System {
        what: "limit on open files",
        errno,
    };
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(limit)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(limit)?;
    confine::forbid_dumps()?;
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    confine::drop_capabilities(KEPT)?;
    confine::prove_ids(&Identity::of_root(), &[], KEPT)
}

/// Receives the listening sockets, and how to start.
fn collect(supervisor: &mut Supervisor) -> Result<(Start, Vec<Listener>), StartError> {
    let mut buffer = PacketBuffer::for_messages();
    let mut listeners = Vec::new();
    loop {
        let packet = supervisor.receive(&mut buffer);
        match packet.map_err(StartError::Supervisor)? {
            (SupervisorToMonitor::Listener { tls, headers }, files) => {
                listeners.extend(files.into_iter().map(|socket| Listener {
                    socket,
                    tls,
                    headers,
                }));
            }
            (SupervisorToMonitor::Start(start), _) if start.version == VERSION => {
                supervisor.enter(SetupPhase::Serving);
                return Ok((start, listeners));
            }
            (SupervisorToMonitor::Start(start), _) => {
                return Err(StartError::Version(start.version));
            }
            _ => return Err(StartError::Supervisor(ChannelError::Closed)),
        }
    }
}

/// Opens what the monitor needs of the system.
fn open(config: &Config, supervisor: &Supervisor) -> Result<Starter, StartError> {
    let system = |errno| StartError::System("event loop", errno);
    supervisor.set_nonblocking().map_err(system)?;
    let events = Events::new(supervisor.as_fd()).map_err(system)?;
    Starter::new(config, events).map_err(|(path, errno)| StartError::Open(path, errno))
}
