//! popward-monitor: starts the processes of one configuration.
//!
//! The supervisor (`popward`) starts one monitor for each configuration. A monitor never gets
//! another configuration: at a reload, the supervisor starts another monitor, and this one serves
//! its sessions to their ends.
//!
//! The monitor runs as root. It keeps these capabilities:
//!
//! - `CAP_SETUID` and `CAP_SETGID`, to start its processes as their users;
//! - `CAP_KILL`, to end them;
//! - `CAP_SYS_CHROOT`, so that front and keys get an empty root.
//!
//! The monitor parses nothing that comes from outside. It reads only bounded, typed messages from
//! the supervisor and from its own children. It passes certificates, keys and listening sockets on
//! without reading from them. It knows no user who has mail: popward-sessions, its first child,
//! starts workers and looks at users' files.

#![forbid(unsafe_code)]

mod config;
mod conversations;
mod ends;
mod hear;
mod life;
mod monitor;
mod parts;
mod setup;
mod starter;

use popward_proto::config_monitor::ReadingPhase;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Why};
use popward_sys::channel::Channel;
use popward_sys::inherited;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok([control, config, other_config, claims, log, other_log]) = inherited::take::<6>() else {
        return ExitCode::FAILURE;
    };
    let supervisor = Channel::new(control, SetupPhase::Starting);
    let config = Channel::new(config, ReadingPhase::Base);
    // Sessions gets these.
    let of_sessions = [other_log, other_config, claims];
    match setup::run(supervisor, config, log, of_sessions) {
        Ok(()) => ExitCode::SUCCESS,
        Err((supervisor, error)) => {
            // If the supervisor has ended, nobody needs to hear this.
            let why = Why::truncated(&error);
            let _ = supervisor.send(&MonitorToSupervisor::Unusable(why));
            ExitCode::FAILURE
        }
    }
}
