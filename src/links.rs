//! The ends of the channels that all connections share: to the monitor, to auth and to keys.

use crate::auths::Auths;
use crate::tls::remote_key::Keys;
use popward_proto::monitor_front::{FrontToMonitor, MonitorToFront};
use popward_sys::channel::Channel;
use std::sync::Arc;

/// The channel to the monitor.
#[derive(Debug)]
pub struct MonitorEnd {
    /// The channel.
    pub channel: Channel<FrontToMonitor, MonitorToFront>,
    /// It has ended, or there is nothing left to do here: so does this process.
    pub(crate) gone: bool,
}

impl MonitorEnd {
    /// This end of `channel`.
    pub fn new(channel: Channel<FrontToMonitor, MonitorToFront>) -> Self {
        let gone = false;
        Self { channel, gone }
    }
}

/// The channels that all connections share.
#[derive(Debug)]
pub(crate) struct Links {
    /// To the monitor.
    pub(crate) monitor: MonitorEnd,
    /// To auths.
    pub(crate) auths: Auths,
    /// To keys.
    pub(crate) keys: Arc<Keys>,
    drained: bool,
}

impl Links {
    /// Channels to the monitor and keys; that to auth comes by [`Front::use_auth`].
    pub(crate) fn new(monitor: MonitorEnd, keys: Arc<Keys>) -> Self {
        Self {
            monitor,
            auths: Auths::default(),
            keys,
            drained: false,
        }
    }

    /// Tells the monitor, once, that the last session has ended.
    pub(crate) fn say_drained(&mut self) {
        if !self.drained {
            // It would block only if the monitor reads nothing any more, and then it will end us.
            self.drained = self.monitor.channel.send(&FrontToMonitor::Drained).is_ok();
        }
    }
}
