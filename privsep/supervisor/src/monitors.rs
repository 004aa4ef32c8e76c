//! The processes popward-monitor: how one is started, and what is known of each.

use crate::config::Config;
use crate::listeners::Listener;
use crate::reader::as_root;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_parent::events::{ChildId, Events};
use popward_parent::process::{Launch, Launcher, Process, send};
use popward_proto::log::LogPhase;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Start, SupervisorToMonitor};
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use popward_sys::spawn::Child;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// The channel to a monitor.
pub(crate) type MonitorChannel = Channel<SupervisorToMonitor, MonitorToSupervisor>;

/// A monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) process: Process,
    /// `None` once it is to end.
    pub(crate) channel: Option<MonitorChannel>,
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

/// Starts popward-monitor with a configuration. It gets the listening sockets and `log`, the end of
/// a channel for log lines.
///
/// # Errors
///
/// It could not be started, or does not take what it is sent.
pub(crate) fn launch(
    launcher: &mut Launcher,
    config: &Config,
    start: Start,
    listeners: &[Listener],
    log: &OwnedFd,
) -> Result<(Child, MonitorChannel), ChannelError> {
    let system = ChannelError::System;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open("/", flags, Mode::empty()).map_err(system)?;
    let (own, theirs) = socket_pair().map_err(system)?;
    let (control, control_theirs) = socket_pair().map_err(system)?;
    let descriptors = [control_theirs.as_fd(), log.as_fd(), theirs.as_fd()];
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
    let channel: MonitorChannel = Channel::new(control, SetupPhase::Starting);
    drop((control_theirs, theirs));
    let given = channel
        .set_nonblocking()
        .map_err(system)
        .and_then(|()| give(&channel, start, listeners))
        .and_then(|()| config.pass_on(&Channel::new(own, LogPhase::Open)));
    match given {
        Ok(()) => Ok((child, channel)),
        Err(error) => {
            // It serves nobody yet.
            let _ = popward_parent::process::end(&child, true);
            Err(error)
        }
    }
}

fn give(
    channel: &MonitorChannel,
    start: Start,
    listeners: &[Listener],
) -> Result<(), ChannelError> {
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
    (child, channel): (Child, MonitorChannel),
    config: Rc<Config>,
    oldest: bool,
) -> Result<(ChildId, Monitor), ChannelError> {
    let (id, whose) = (events.next_id(), (Role::Monitor, None));
    let process = Process::watch(events, id, whose, (child, None), Some(channel.as_fd()));
    let monitor = Monitor {
        process: process.map_err(ChannelError::System)?,
        channel: Some(channel),
        config,
        why: None,
        oldest,
    };
    Ok((id, monitor))
}
