//! Sends a configuration to the supervisor: the supervisor's part, and the monitors' part as encoded
//! messages, in the order that the monitors' permit table requires.

use crate::config::{Certificate, Config};
use popward_proto::config_monitor::{ConfigToMonitor, encoded};
use popward_proto::supervisor_config::{ConfigToSupervisor, SupervisorToConfig};
use popward_sys::channel::{Channel, ChannelError};
use std::fs::File;
use std::os::fd::AsFd;

/// The channel to the supervisor.
pub(crate) type Supervisor = Channel<ConfigToSupervisor, SupervisorToConfig>;

/// Sends the whole configuration, and [`ConfigToSupervisor::End`] at the end.
pub(crate) fn hand_over(supervisor: &Supervisor, config: Config) -> Result<(), ChannelError> {
    supervisor.send(&ConfigToSupervisor::Settings(config.supervisor))?;
    let part = |message: &ConfigToMonitor, files: &[&File]| part(supervisor, message, files);
    part(&ConfigToMonitor::Base(config.base), &[])?;
    part(&ConfigToMonitor::Auth(config.auth), &[])?;
    let tables = config.tables.into_iter().map(Box::new);
    let tables = tables.map(ConfigToMonitor::Table);
    let members = config.members.into_iter().map(ConfigToMonitor::Member);
    for message in tables.chain(members) {
        part(&message, &[])?;
    }
    if let Some((path, file)) = config.client_ca {
        part(&ConfigToMonitor::ClientAuthorities(path), &[&file])?;
    }
    for Certificate { chain, key } in config.certificates {
        let ((chain, chain_file), (key, key_file)) = (chain, key);
        let message = ConfigToMonitor::Certificate { chain, key };
        part(&message, &[&chain_file, &key_file])?;
    }
    part(&ConfigToMonitor::End, &[])?;
    supervisor.send(&ConfigToSupervisor::End)
}

/// Sends a message for monitors.
fn part(
    supervisor: &Supervisor,
    message: &ConfigToMonitor,
    files: &[&File],
) -> Result<(), ChannelError> {
    let part = ConfigToSupervisor::Part {
        encoded: encoded(message)?,
        files: u8::try_from(files.len()).unwrap_or(u8::MAX),
    };
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    supervisor.send_with(&part, &files)
}
