//! Sends a configuration to the supervisor: the supervisor's part, and as encoded messages those of
//! monitors and of their sessions, in the order that their permit tables require.

use crate::config::{Certificate, Config};
use popward_proto::config_monitor::ConfigToMonitor;
use popward_proto::config_sessions::ConfigToSessions;
use popward_proto::supervisor_config::{ConfigToSupervisor, SupervisorToConfig, encoded};
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
    for table in &config.tables {
        if let Some(delay_s) = table.login_delay_s {
            part(
                &ConfigToMonitor::LoginDelay(table.named.clone(), delay_s),
                &[],
            )?;
        }
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
    let base = [ConfigToSessions::Base(config.sessions)].into_iter();
    let tables = config.tables.into_iter().map(Box::new);
    let tables = tables.map(ConfigToSessions::Table);
    let members = config.members.into_iter().map(ConfigToSessions::Member);
    for message in base
        .chain(tables)
        .chain(members)
        .chain([ConfigToSessions::End])
    {
        let encoded = encoded(&message)?;
        supervisor.send(&ConfigToSupervisor::SessionsPart(encoded))?;
    }
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
