//! popward-sessions: starts a worker for each login that auth grants, and cleans up after it.
//!
//! Each monitor starts one. It ends when the monitor closes its channel. If it ends before, the
//! monitor ends too.
//!
//! It runs as root. It keeps these capabilities:
//!
//! - `CAP_SETUID` and `CAP_SETGID`, to start workers;
//! - `CAP_KILL`, to end them;
//! - `CAP_CHOWN`, to give new state directories to their users.
//!
//! It parses nothing that comes from outside, and hears no front. It reads only bounded, typed
//! messages from the supervisor, the monitor, auths and workers. It makes state directories. It
//! looks at users' files, and removes dotlocks, with the rights of their owner.

#![forbid(unsafe_code)]

mod as_user;
mod config;
mod dotlock;
mod ends;
mod grants;
mod hear;
mod leftovers;
mod life;
mod sessions;
mod setup;
mod starter;
mod state;
mod workers;

use popward_parent::log::LogWriter;
use popward_proto::bounded::Text;
use popward_proto::log::Level;
use popward_proto::log_line::Role;
use popward_proto::monitor_sessions::SessionsToMonitor;
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::Channel;
use popward_sys::inherited;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Ok([monitor, log_socket, config, supervisor]) = inherited::take::<4>() else {
        return ExitCode::FAILURE;
    };
    let monitor = Channel::new(monitor, SetupPhase::Serving);
    let config = Channel::new(config, SetupPhase::Starting);
    let supervisor = Channel::new(supervisor, SetupPhase::Starting);
    let mut log = LogWriter::new(Role::Sessions, Level::Debug);
    log.connect(log_socket);
    match setup::run(monitor, config, supervisor, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err((monitor, error)) => {
            // If the monitor has ended, nobody needs to hear this.
            let why = Text::truncated(&error);
            let _ = monitor.send(&SessionsToMonitor::Unusable(why));
            ExitCode::FAILURE
        }
    }
}
