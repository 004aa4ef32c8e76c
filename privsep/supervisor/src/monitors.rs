//! The processes popward-monitor: how one is started, and what is known of each.

use crate::config::{Config, pass_on};
use crate::listeners::Listener;
use crate::reader::as_root;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::events::{ChildId, Event, Events};
use popward_parent::process::{Launch, Launcher, Process, send};
use popward_proto::VERSION;
use popward_proto::log::LogPhase;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Start, SupervisorToMonitor};
use popward_proto::supervisor_sessions::{SessionsToSupervisor, SupervisorToSessions};
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use popward_sys::spawn::Child;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// The channel to a monitor.
pub(crate) type MonitorChannel = Channel<SupervisorToMonitor, MonitorToSupervisor>;

/// The channel to a monitor's sessions.
pub(crate) type SessionsChannel = Channel<SupervisorToSessions, SessionsToSupervisor>;

/// A monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) process: Process,
    /// `None` once it is to end.
    pub(crate) channel: Option<MonitorChannel>,
    /// The channel to its sessions, and the channel's number.
    pub(crate) sessions: (ChildId, SessionsChannel),
    pub(crate) config: Rc<Config>,
    /// Why it cannot serve, in its own words.
    pub(crate) why: Option<String>,
    /// It knows that there is no older one.
    pub(crate) oldest: bool,
}

impl Monitor {
    /// Sends to it, if its channel is open.
    pub(crate) fn send(
        &self,
        message: &SupervisorToMonitor,
        files: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let channel = self.channel.as_ref();
        channel.map_or(Ok(()), |channel| send(channel, message, files))
    }

    /// Closes its channel, so that it ends.
    pub(crate) fn dismiss(&mut self, events: &Events) {
        if let Some(channel) = self.channel.take() {
            events.forget(channel.as_fd());
        }
    }
}

/// A monitor that was started.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) channel: MonitorChannel,
    sessions: SessionsChannel,
}

/// Starts popward-monitor with a configuration. It gets the listening sockets and `logs`, the ends
/// of the channels for log lines of the monitor and of its sessions. `after_crash` is whether its sessions looks for what a crash left.
///
/// # Errors
///
/// It could not be started, or does not take what it is sent.
pub(crate) fn launch(
    launcher: &mut Launcher,
    config: &Config,
    (start, after_crash): (Start, bool),
    listeners: &[Listener],
    logs: &[OwnedFd; 2],
) -> Result<Launched, ChannelError> {
    let system = ChannelError::System;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open("/", flags, Mode::empty()).map_err(system)?;
    let pair = || socket_pair().map_err(system);
    let [
        (control, control_end),
        (config_of_monitor, first_end),
        (config_of_sessions, second_end),
        (claims, claims_end),
    ] = [pair()?, pair()?, pair()?, pair()?];
    let theirs = [control_end, first_end, second_end, claims_end];
    let descriptors: Vec<_> = theirs.iter().chain(logs).map(AsFd::as_fd).collect();
    let child = launcher.start_with(
        &Launch {
            executable: &config
                .settings
                .common
                .libexec
                .as_path()
                .join("popward-monitor"),
            command_line: &["popward-monitor"],
            directory: root.as_fd(),
            identity: as_root().as_ref(),
        },
        &descriptors,
    );
    let child = child.map_err(system)?;
    drop(theirs);
    let trial = start.trial;
    let launched = Launched {
        child,
        channel: Channel::new(control, SetupPhase::Starting),
        sessions: Channel::new(claims, SetupPhase::Serving),
    };
    let given = give(&launched.channel, start, listeners)
        .and_then(|()| {
            pass_on(
                &config.monitors,
                &Channel::new(config_of_monitor, LogPhase::Open),
            )
        })
        .and_then(|()| {
            if trial {
                // It starts no sessions.
                return Ok(());
            }
            let common = &config.settings.common;
            let start = SupervisorToSessions::Start {
                version: VERSION,
                libexec: common.libexec.clone(),
                state: config.settings.state.clone(),
                log_level: common.log_level,
                after_crash,
            };
            launched.sessions.set_nonblocking().map_err(system)?;
            send(&launched.sessions, &start, &[])?;
            pass_on(
                &config.sessions,
                &Channel::new(config_of_sessions, LogPhase::Open),
            )
        });
    match given {
        Ok(()) => Ok(launched),
        Err(error) => {
            // It serves nobody yet.
            let _ = popward_parent::process::end(&launched.child, true);
            Err(error)
        }
    }
}

fn give(
    channel: &MonitorChannel,
    start: Start,
    listeners: &[Listener],
) -> Result<(), ChannelError> {
    channel.set_nonblocking().map_err(ChannelError::System)?;
    for listener in listeners {
        let (tls, headers) = (listener.tls, listener.headers);
        let message = SupervisorToMonitor::Listener { tls, headers };
        send(channel, &message, &[listener.socket.as_fd()])?;
    }
    send(channel, &SupervisorToMonitor::Start(start), &[])
}

/// Watches a monitor that was launched.
///
/// # Errors
///
/// A system call failed. The monitor was killed.
pub(crate) fn watch(
    events: &mut Events,
    launched: Launched,
    config: Rc<Config>,
    oldest: bool,
) -> Result<(ChildId, Monitor), ChannelError> {
    let Launched {
        child,
        channel,
        sessions,
    } = launched;
    let (id, whose) = (events.next_id(), (Role::Monitor, None));
    let process = Process::watch(events, id, whose, (child, None), Some(channel.as_fd()));
    let process = process.map_err(ChannelError::System)?;
    let of_sessions = events.next_id();
    if let Err(errno) = events.watch(sessions.as_fd(), Event::Control(of_sessions)) {
        process.kill();
        return Err(ChannelError::System(errno));
    }
    let monitor = Monitor {
        process,
        channel: Some(channel),
        sessions: (of_sessions, sessions),
        config,
        why: None,
        oldest,
    };
    Ok((id, monitor))
}
