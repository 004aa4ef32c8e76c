//! popward-config: reads popward.toml and the files that it names, checks them, hands the monitor what it means as
//! typed messages and open descriptors, and ends.
//!
//! Runs as root without any capability, because the configuration and the keys may be readable by root alone; where
//! popward is not started by root, as its user. It can read files and change none: Landlock forbids writing, and its
//! system call filter has no call that makes a socket, starts a process or opens a file to write.
//!
//! With the argument `names` it looks up users and groups for the first one, as nobody ([`names`] says why).

#![forbid(unsafe_code)]

mod check;
mod file;
mod hand_over;
mod host;
mod load;
mod names;
mod owner;
mod pair;
mod pattern;
mod removed;
mod syscalls;

use hand_over::{Monitor, hand_over};
use host::Host;
use popward_proto::VERSION;
use popward_proto::monitor_auth::SetupPhase;
use popward_proto::monitor_config::{ConfigToMonitor, Finding, MonitorToConfig};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// Descriptors: two for each certificate, and a few of its own.
const FILES: u64 = 128;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(names::ARGUMENT) {
        return names::main();
    }
    // Everything is said over the first one: whoever waits for the configuration shows it.
    let Ok([control, _log]) = inherited::take::<2>() else {
        return ExitCode::FAILURE;
    };
    let mut monitor: Monitor = Channel::new(control, SetupPhase::Starting);
    let said = match confine() {
        Ok(names) => answer(&mut monitor, names),
        Err(error) => refuse(
            &monitor,
            &format!("popward-config is not confined: {error}"),
        ),
    };
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up everything but reading, and proves it. Returns the way to the process that looks up names, which is
/// started before: afterwards nothing can be.
fn confine() -> Result<names::Names, Box<dyn Error>> {
    let names = names::start()?;
    server::drop_privileges(FILES, Root::Host)?;
    landlock::reading::restrict_to_reading()?;
    // Its first use looks for a device file that the filter would not let it look for.
    let mut random = [0; 32];
    pair::provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| "no randomness")?;
    seccomp::install(&[seccomp::RUNTIME, syscalls::TABLE])?;
    Ok(names)
}

fn answer(monitor: &mut Monitor, names: names::Names) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let Packet::Message(MonitorToConfig::Read { version, path }, _) =
        monitor.receive(&mut buffer)?
    else {
        return Err(ChannelError::Closed);
    };
    if version != VERSION {
        let text = format!(
            "popward-config speaks version {VERSION}, and the running popward {version}: restart popward"
        );
        return refuse(monitor, &text);
    }
    let host = Host::this(names);
    let (config, warnings) = load::load(Path::new(path.as_str()), &host);
    for warning in warnings {
        monitor.send(&ConfigToMonitor::Warning(Finding::truncated(&warning)))?;
    }
    match config {
        Ok(config) => hand_over(monitor, config),
        Err(error) => refuse(monitor, &error.to_string()),
    }
}

fn refuse(monitor: &Monitor, why: &str) -> Result<(), ChannelError> {
    monitor.send(&ConfigToMonitor::Refused(Finding::truncated(why)))
}
