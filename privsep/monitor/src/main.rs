//! popward-monitor: starts the processes of one configuration, and a worker for each login that
//! auth grants.
//!
//! The supervisor (`popward`) starts one monitor for each configuration. A monitor never gets
//! another configuration: at a reload, the supervisor starts another monitor, and this one serves
//! its sessions to their ends.
//!
//! The monitor runs as root. It keeps these capabilities:
//!
//! - `CAP_SETUID` and `CAP_SETGID`, to start workers;
//! - `CAP_KILL`, to end them;
//! - `CAP_CHOWN`, to give new state directories to their users;
//! - `CAP_SYS_CHROOT`, so that front and keys get an empty root.
//!
//! The monitor parses nothing that comes from outside. It reads only bounded, typed messages from
//! the supervisor and from its own children. It passes certificates, keys and listening sockets on
//! without reading from them. It makes state directories. It looks at users' files, and removes
//! dotlocks, with the rights of their owner.

#![forbid(unsafe_code)]

mod as_user;
mod config;
mod conversations;
mod dotlock;
mod ends;
mod grants;
mod hear;
mod leftovers;
mod life;
mod monitor;
mod parts;
mod sessions;
mod setup;
mod start_error;
mod starter;
mod state;
mod trial;

use popward_parent::log::LogWriter;
use popward_proto::config_monitor::ReadingPhase;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Why};
use popward_sys::channel::Channel;
use popward_sys::inherited;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok([control, log_socket, config]) = inherited::take::<3>() else {
        return ExitCode::FAILURE;
    };
    let supervisor = Channel::new(control, SetupPhase::Starting);
    let config = Channel::new(config, ReadingPhase::Base);
    let mut log = LogWriter::new(Role::Monitor, Level::Debug);
    log.connect(log_socket);
    match setup::run(supervisor, config, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err((supervisor, error)) => {
            // If the supervisor has ended, nobody needs to hear this.
            let why = Why::truncated(&error.to_string());
            let _ = supervisor.send(&MonitorToSupervisor::Unusable(why));
            ExitCode::FAILURE
        }
    }
}
