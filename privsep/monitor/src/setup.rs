//! The start of a monitor: it receives what it needs, gives up what it does not need, and starts
//! sessions.

use crate::config::{Config, ConfigChannel, receive};
use crate::monitor::{Monitor, Supervisor};
use crate::parts::{Listener, Sessions};
use crate::starter::launch;
use popward_parent::confine::confine;
use popward_parent::log::LogWriter;
use popward_parent::process::Starter;
use popward_proto::VERSION;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{Start, SupervisorToMonitor};
use popward_sys::capabilities::Capabilities;
use popward_sys::channel::{ChannelError, PacketBuffer};
use std::os::fd::{AsFd, OwnedFd};

/// What the monitor keeps of root's capabilities. With `CAP_SETUID` it could become anybody, so the
/// list does not make the monitor harmless: it makes a mistake with a path or a socket harmless.
const KEPT: Capabilities = Capabilities::SETUID
    .with(Capabilities::SETGID)
    .with(Capabilities::KILL)
    .with(Capabilities::SYS_CHROOT);

/// Runs a monitor from its start to its end. `of_sessions` is what the supervisor gives sessions: the
/// ends of the channels for log lines, for the configuration, and for claims. After an error at the
/// start, returns the channel to the supervisor too, so that the supervisor can be told. The error
/// is in words for the operator.
pub(crate) fn run(
    mut supervisor: Supervisor,
    mut config: ConfigChannel,
    log_socket: OwnedFd,
    of_sessions: [OwnedFd; 3],
) -> Result<(), (Supervisor, String)> {
    let given = confine(KEPT)
        .map_err(|error| error.to_string())
        .and_then(|()| collect(&mut supervisor))
        .and_then(|(start, listeners)| {
            let config = receive(&mut config, start.common.clone());
            Ok((config.map_err(failed)?, start, listeners))
        });
    drop(config);
    let opened = given.and_then(|given| Ok((open(&given, &supervisor, &of_sessions)?, given)));
    drop(of_sessions);
    let ((starter, sessions), (mut config, start, listeners)) = match opened {
        Ok(opened) => opened,
        Err(error) => return Err((supervisor, error)),
    };
    let front = &mut config.base.front;
    front.connections_known = start.connections_before == Some(front.limits.connections);
    let mut log = LogWriter::new(Role::Monitor, config.common.log_level);
    log.connect(log_socket);
    let mut monitor = Monitor::new(config, supervisor, log, starter);
    monitor.parts.sessions = sessions;
    monitor.listeners = listeners;
    monitor.first_front = start.first_front;
    monitor.oldest = start.oldest;
    monitor.run(start.trial);
    Ok(())
}

fn failed(error: ChannelError) -> String {
    format!("popward-monitor: {error}")
}

/// Receives the listening sockets, and how to start.
fn collect(supervisor: &mut Supervisor) -> Result<(Start, Vec<Listener>), String> {
    let mut buffer = PacketBuffer::for_messages();
    let mut listeners = Vec::new();
    loop {
        match supervisor.receive(&mut buffer).map_err(failed)? {
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
                return Err(format!(
                    "popward-monitor speaks protocol version {VERSION}, but the running popward speaks version {}: restart popward",
                    start.version
                ));
            }
            _ => return Err(failed(ChannelError::Closed)),
        }
    }
}

/// Opens what the monitor needs of the system, and starts sessions, unless it is on trial.
fn open(
    (config, start, _): &(Config, Start, Vec<Listener>),
    supervisor: &Supervisor,
    of_sessions: &[OwnedFd; 3],
) -> Result<(Starter, Option<Sessions>), String> {
    let nonblocking = supervisor.set_nonblocking();
    nonblocking.map_err(|errno| format!("event loop: {errno}"))?;
    let mut starter = Starter::new(supervisor.as_fd())?;
    if start.trial {
        return Ok((starter, None));
    }
    let not_started = |errno| format!("popward-sessions not started: {errno}");
    let launch = launch(config, Role::Sessions, &[], None).map_err(not_started)?;
    let files = of_sessions.each_ref().map(AsFd::as_fd);
    let sessions = Sessions::start(&mut starter, &launch, &files, SetupPhase::Starting);
    Ok((starter, Some(sessions.map_err(not_started)?)))
}
