//! Sends a configuration to the supervisor as messages, in the order that the permit table
//! requires.

use crate::config::Config;
use popward_proto::monitor_config::{ConfigToMonitor, SupervisorToConfig};
use popward_sys::channel::{Channel, ChannelError};
use std::os::fd::AsFd;

/// The channel to the supervisor.
pub(crate) type Supervisor = Channel<ConfigToMonitor, SupervisorToConfig>;

/// Sends the whole configuration, and [`ConfigToMonitor::End`] at the end.
pub(crate) fn hand_over(supervisor: &Supervisor, config: Config) -> Result<(), ChannelError> {
    supervisor.send(&ConfigToMonitor::Base(config.base))?;
    supervisor.send(&ConfigToMonitor::Auth(config.auth))?;
    for table in config.tables {
        supervisor.send(&ConfigToMonitor::Table(Box::new(table)))?;
    }
    for member in config.members {
        supervisor.send(&ConfigToMonitor::Member(member))?;
    }
    if let Some((path, file)) = config.client_ca {
        let message = ConfigToMonitor::ClientAuthorities(path);
        supervisor.send_with(&message, &[file.as_fd()])?;
    }
    for certificate in config.certificates {
        let message = ConfigToMonitor::Certificate {
            chain: certificate.chain.0,
            key: certificate.key.0,
        };
        let files = [certificate.chain.1.as_fd(), certificate.key.1.as_fd()];
        supervisor.send_with(&message, &files)?;
    }
    supervisor.send(&ConfigToMonitor::End)
}
