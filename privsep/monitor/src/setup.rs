//! The start of a monitor: it receives what it needs, gives up what it does not need, and opens
//! directories.

use crate::config::{Config, ConfigChannel, receive};
use crate::leftovers;
use crate::monitor::{Monitor, RISE, Stage, Supervisor};
use crate::parts::Listener;
use crate::start_error::StartError;
use crate::starter::Starter;
use crate::state::StateRoot;
use crate::trial;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use popward_parent::events::Events;
use popward_parent::log::LogWriter;
use popward_proto::VERSION;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{Start, SupervisorToMonitor};
use popward_sys::capabilities::Capabilities;
use popward_sys::channel::{ChannelError, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity, NotConfined};
use std::os::fd::AsFd;
use std::time::Instant;

/// What the monitor keeps of root's capabilities. With `CAP_SETUID` it could become anybody, so the
/// list does not make the monitor harmless: it makes a mistake with a path or a socket harmless.
const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL)
    .with(Capabilities::CHOWN)
    .with(Capabilities::SYS_CHROOT);

/// Runs a monitor from its start to its end. After an error at the start, returns the channel to
/// the supervisor too, so that the supervisor can be told.
pub(crate) fn run(
    mut supervisor: Supervisor,
    mut config: ConfigChannel,
    mut log: LogWriter,
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
    log.set_level(config.common.log_level);
    if start.trial {
        let tried = trial::of_auth(&config, &supervisor, &mut log);
        return tried.map_err(|error| (supervisor, error));
    }
    match open(&config, &supervisor) {
        Ok((starter, state)) => {
            let find = || leftovers::find(&config, &mut log);
            let left = start.after_crash.then(find).unwrap_or_default();
            let mut monitor = Monitor::new(config, supervisor, log, starter, state);
            monitor.listeners = listeners;
            monitor.first_front = start.first_front;
            monitor.oldest = start.oldest;
            monitor.to_tend = left;
            monitor.stage = Stage::Rising(Instant::now() + RISE);
            monitor.run();
            Ok(())
        }
        Err(error) => Err((supervisor, error)),
    }
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
            Packet::Message(SupervisorToMonitor::Listener { tls, headers }, files) => {
                listeners.extend(files.into_iter().map(|socket| Listener {
                    socket,
                    tls,
                    headers,
                }));
            }
            Packet::Message(SupervisorToMonitor::Start(start), _) if start.version == VERSION => {
                supervisor.enter(SetupPhase::Serving);
                return Ok((start, listeners));
            }
            Packet::Message(SupervisorToMonitor::Start(start), _) => {
                return Err(StartError::Version(start.version));
            }
            _ => return Err(StartError::Supervisor(ChannelError::Closed)),
        }
    }
}

/// Opens what the monitor needs of the file system.
fn open(config: &Config, supervisor: &Supervisor) -> Result<(Starter, StateRoot), StartError> {
    let system = |errno| StartError::System("event loop", errno);
    let opened = |(path, errno)| StartError::Open(path, errno);
    supervisor.set_nonblocking().map_err(system)?;
    let events = Events::new(supervisor.as_fd()).map_err(system)?;
    let path = config.common.state.as_path();
    let state = StateRoot::open(path).map_err(|errno| opened((path.to_owned(), errno)))?;
    let mut starter = Starter::new(config, events).map_err(opened)?;
    starter.make_empty(path).map_err(opened)?;
    Ok((starter, state))
}
