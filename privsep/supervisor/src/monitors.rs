//! The processes popward-monitor: how one is started, and what is known of each.

use crate::config::{Config, pass_on};
use crate::listeners::Listener;
use crate::reader::as_root;
use popward_parent::connected_child::ConnectedChild;
use popward_parent::events::Event;
use popward_parent::process::{Launch, Starter, send};
use popward_proto::VERSION;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Start, SupervisorToMonitor};
use popward_proto::supervisor_sessions::{SessionsToSupervisor, SupervisorToSessions};
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// A monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) child: ConnectedChild<SupervisorToMonitor, MonitorToSupervisor>,
    /// The channel to its sessions.
    pub(crate) sessions: Channel<SupervisorToSessions, SessionsToSupervisor>,
    pub(crate) config: Rc<Config>,
    /// Why it cannot serve, in its own words.
    pub(crate) why: Option<String>,
    /// It knows that there is no older one.
    pub(crate) oldest: bool,
}

impl Monitor {
    /// Starts popward-monitor with a configuration. It gets the listening sockets and `logs`, the
    /// ends of the channels for log lines of the monitor and of its sessions. `after_crash` is
    /// whether its sessions looks for what a crash left.
    ///
    /// # Errors
    ///
    /// It could not be started, or does not take what it is sent.
    pub(crate) fn start(
        starter: &mut Starter,
        config: Rc<Config>,
        (start, after_crash): (Start, bool),
        listeners: &[Listener],
        logs: &[OwnedFd; 2],
    ) -> Result<Self, ChannelError> {
        let (system, trial) = (ChannelError::System, start.trial);
        let pair = || socket_pair().map_err(system);
        let [(of_monitor, first), (of_sessions, second), (claims, third)] =
            [pair()?, pair()?, pair()?];
        let rest = [first, second, third];
        let launch = Launch {
            libexec: config.settings.common.libexec.as_path(),
            role: Role::Monitor,
            words: &[],
            directory: None,
            identity: as_root(),
        };
        let all: Vec<_> = rest.iter().chain(logs).map(AsFd::as_fd).collect();
        let child = ConnectedChild::start(starter, &launch, &all, SetupPhase::Starting);
        drop(rest);
        let mut monitor = Self {
            child: child.map_err(system)?,
            sessions: Channel::new(claims, SetupPhase::Serving),
            config,
            why: None,
            oldest: start.oldest,
        };
        let event = Event::Second(monitor.child.id());
        let watched = starter.events.watch(monitor.sessions.as_fd(), event);
        let given = watched
            .map_err(system)
            .and_then(|()| monitor.give(start, listeners, of_monitor))
            .and_then(|()| {
                if trial {
                    // It starts no sessions.
                    return Ok(());
                }
                monitor.give_sessions(after_crash, of_sessions)
            });
        if given.is_err() {
            // It serves nobody yet.
            let _ = monitor.child.process.end(true);
        }
        given.map(|()| monitor)
    }

    /// Gives it what it needs, and its part of the configuration over `socket`.
    fn give(
        &self,
        start: Start,
        listeners: &[Listener],
        socket: OwnedFd,
    ) -> Result<(), ChannelError> {
        for listener in listeners {
            let (tls, headers) = (listener.tls, listener.headers);
            let message = SupervisorToMonitor::Listener { tls, headers };
            self.child.send(&message, &[listener.socket.as_fd()])?;
        }
        self.child.send(&SupervisorToMonitor::Start(start), &[])?;
        pass_on(&self.config.monitors, socket)
    }

    /// The same for its sessions.
    fn give_sessions(&self, after_crash: bool, socket: OwnedFd) -> Result<(), ChannelError> {
        let settings = &self.config.settings;
        let start = SupervisorToSessions::Start {
            version: VERSION,
            libexec: settings.common.libexec.clone(),
            state: settings.state.clone(),
            log_level: settings.common.log_level,
            after_crash,
        };
        let nonblocking = self.sessions.set_nonblocking();
        nonblocking.map_err(ChannelError::System)?;
        send(&self.sessions, &start, &[])?;
        pass_on(&self.config.sessions, socket)
    }
}
