//! The channels that all connections share: to the monitor, sessions, auths and keys.

use crate::auth_channels::AuthChannels;
use crate::tls::remote_key::Keys;
use popward_proto::log::NoMessage;
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_proto::sessions_front::SessionsToFront;
use popward_sys::channel::Channel;
use std::sync::Arc;

/// The channel to the monitor.
#[derive(Debug)]
pub struct MonitorChannel {
    /// The channel.
    pub channel: Channel<FrontToMonitor, MonitorToFront>,
    /// Set when the channel has ended, or when this front cannot serve any more. Then the process
    /// ends.
    pub(crate) gone: bool,
}

impl MonitorChannel {
    /// The front's end of `channel`.
    pub fn new(channel: Channel<FrontToMonitor, MonitorToFront>) -> Self {
        let gone = false;
        Self { channel, gone }
    }
}

/// The channel from sessions. A front says nothing there.
pub type SessionsChannel = Channel<NoMessage, SessionsToFront>;

/// The channels that all connections share.
#[derive(Debug)]
pub(crate) struct Channels {
    /// The channel to the monitor.
    pub(crate) monitor: MonitorChannel,
    /// The channel from sessions. `None` once it has ended.
    pub(crate) sessions: Option<SessionsChannel>,
    /// The channels to auths.
    pub(crate) auths: AuthChannels,
    /// The channel to keys.
    pub(crate) keys: Arc<Keys>,
    drained: bool,
}

impl Channels {
    /// Channels to the monitor, sessions and keys. Those to auths are added later.
    pub(crate) fn new(monitor: MonitorChannel, sessions: SessionsChannel, keys: Arc<Keys>) -> Self {
        Self {
            monitor,
            sessions: Some(sessions),
            auths: AuthChannels::default(),
            keys,
            drained: false,
        }
    }

    /// Tells the monitor that the last connection has ended. Sends this once.
    pub(crate) fn send_drained(&mut self) {
        if !self.drained {
            // If the monitor reads nothing any more, this fails and is tried again. The monitor
            // ends this process then.
            self.drained = self.monitor.channel.send(&FrontToMonitor::Drained).is_ok();
        }
    }
}
