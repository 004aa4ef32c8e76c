//! The start of sessions: it gives up what it does not need, receives what it needs, and opens
//! directories.

use crate::config::{self, Config, ConfigChannel};
use crate::leftovers;
use crate::sessions::{Monitor, Sessions, Supervisor};
use crate::starter::WorkerStarter;
use crate::state::StateRoot;
use nix::errno::Errno;
use popward_parent::confine::confine;
use popward_parent::events::ChildId;
use popward_parent::log::LogWriter;
use popward_parent::process::{Starter, send};
use popward_proto::VERSION;
use popward_proto::bounded::AbsolutePath;
use popward_proto::log::Level;
use popward_proto::monitor_sessions::SessionsToMonitor;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_sessions::SupervisorToSessions;
use popward_records::{Logs, watch_channel};
use popward_sys::capabilities::Capabilities;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What sessions keeps of root's capabilities. With `CAP_SETUID` it could become anybody, so the
/// list does not make it harmless: it makes a mistake with a path harmless.
const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL)
    .with(Capabilities::CHOWN);

/// Runs sessions from its start to its end. After an error at the start, returns the channel to the
/// monitor too, so that the monitor can be told. The error is in words for the operator.
pub(crate) fn run(
    monitor: Monitor,
    config: ConfigChannel,
    supervisor: Supervisor,
    mut log: LogWriter,
) -> Result<(), (Monitor, String)> {
    let given = confine(KEPT)
        .map_err(|error| error.to_string())
        .and_then(|()| receive(config, supervisor));
    let opened = given.and_then(|given| Ok((open(&monitor, &given)?, given)));
    let (opened, given) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err((monitor, error)),
    };
    log.set_level(given.log_level);
    let to_tend = if given.after_crash {
        leftovers::find(&given.config, given.state.as_path(), &mut log)
    } else {
        Vec::new()
    };
    let ready = SessionsToMonitor::Ready { version: VERSION };
    // If the monitor has ended, the loop sees that.
    let _ = send(&monitor, &ready, &[opened.empty.as_fd()]);
    let channels = (monitor, (opened.supervisor, given.supervisor));
    let directories = (opened.starter, opened.state);
    Sessions::new(given.config, channels, log, directories, to_tend).run();
    Ok(())
}

/// What the supervisor gives sessions.
struct Given {
    config: Config,
    supervisor: Supervisor,
    /// Where the executables are.
    libexec: AbsolutePath,
    /// Where users' state directories are.
    state: AbsolutePath,
    log_level: Level,
    /// Whether to look for what a crash left.
    after_crash: bool,
}

fn receive(mut config: ConfigChannel, mut supervisor: Supervisor) -> Result<Given, String> {
    let failed = |error: ChannelError| format!("popward-sessions: {error}");
    let mut buffer = PacketBuffer::for_messages();
    let (start, _) = supervisor.receive(&mut buffer).map_err(failed)?;
    let SupervisorToSessions::Start {
        version,
        libexec,
        state,
        log_level,
        after_crash,
    } = start
    else {
        return Err(failed(ChannelError::Closed));
    };
    if version != VERSION {
        return Err(format!(
            "popward-sessions speaks protocol version {VERSION}, but the running popward speaks version {version}: restart popward"
        ));
    }
    supervisor.enter(SetupPhase::Serving);
    let config = config::receive(&mut config).map_err(failed)?;
    Ok(Given {
        config,
        supervisor,
        libexec,
        state,
        log_level,
        after_crash,
    })
}

/// What sessions has opened of the system.
struct Opened {
    starter: WorkerStarter,
    state: StateRoot,
    /// The number of the channel to the supervisor.
    supervisor: ChildId,
    empty: OwnedFd,
}

fn open(monitor: &Monitor, given: &Given) -> Result<Opened, String> {
    let system = |errno| format!("event loop: {errno}");
    let opened = |(path, errno): (PathBuf, Errno)| format!("{}: {errno}", path.display());
    monitor.set_nonblocking().map_err(system)?;
    let mut starter = Starter::new(monitor.as_fd())?;
    let supervisor = watch_channel(&mut starter.events, &given.supervisor);
    let supervisor = supervisor.map_err(system)?;
    let state = StateRoot::open(given.state.as_path()).map_err(opened)?;
    let empty = state.empty_directory().map_err(opened)?;
    Ok(Opened {
        starter: WorkerStarter {
            starter,
            logs: Logs::default(),
            libexec: given.libexec.clone(),
        },
        state,
        supervisor,
        empty,
    })
}
