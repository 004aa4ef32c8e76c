//! Sends a configuration to the monitor as messages, in the order that the permit table requires.

use crate::load::Config;
use popward_proto::monitor_config::{ConfigToMonitor, MonitorToConfig};
use popward_sys::channel::{Channel, ChannelError};
use std::os::fd::AsFd;

/// The channel to the monitor.
pub(crate) type Monitor = Channel<ConfigToMonitor, MonitorToConfig>;

/// Sends the whole configuration, and [`ConfigToMonitor::End`] at the end.
pub(crate) fn hand_over(monitor: &Monitor, config: Config) -> Result<(), ChannelError> {
    monitor.send(&ConfigToMonitor::Base(config.base))?;
    monitor.send(&ConfigToMonitor::Auth(config.auth))?;
    for table in config.tables {
        monitor.send(&ConfigToMonitor::Table(Box::new(table)))?;
    }
    for member in config.members {
        monitor.send(&ConfigToMonitor::Member(member))?;
    }
    if let Some((path, file)) = config.client_ca {
        let message = ConfigToMonitor::ClientAuthorities(path);
        monitor.send_with(&message, &[file.as_fd()])?;
    }
    for certificate in config.certificates {
        let message = ConfigToMonitor::Certificate {
            chain: certificate.chain.0,
            key: certificate.key.0,
        };
        let files = [certificate.chain.1.as_fd(), certificate.key.1.as_fd()];
        monitor.send_with(&message, &files)?;
    }
    monitor.send(&ConfigToMonitor::End)
}
