//! popward-config: reads popward.toml and the files that it names, and checks them. It sends the
//! result to the supervisor as typed messages and open descriptors. Then it ends.
//!
//! popward-config runs as root without any capability, because only root may be able to read the
//! configuration and the keys. If a user other than root starts popward, it runs as that user. It
//! can read files, but it cannot change any: Landlock forbids writing, and the system call filter
//! permits no call that makes a socket, starts a process or opens a file for writing.
//!
//! With the argument `names`, the executable looks up users and groups as `nobody`. The module
//! [`names`] says why.

#![forbid(unsafe_code)]

mod check;
mod excerpt;
mod file;
mod hand_over;
mod host;
mod load;
mod mistakes;
mod names;
mod owner;
mod pair;
mod pattern;
mod removed;
mod syscalls;
mod values;

use hand_over::{Supervisor, hand_over};
use host::Host;
use popward_proto::VERSION;
use popward_proto::monitor_auth::SetupPhase;
use popward_proto::monitor_config::{ConfigToMonitor, Finding, SupervisorToConfig};
use popward_sys::channel::{self, Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// Most open descriptors of a process: two for each certificate, and a few more.
const FILES: u64 = 128;

/// After how many seconds the kernel ends this process and the one that looks up names. The
/// supervisor waits 30 s and then kills popward-config. A supervisor that is dead cannot.
const LIFE_S: u32 = 35;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(names::ARGUMENT) {
        return names::main();
    }
    // Errors and warnings go to the supervisor over the first descriptor, because the supervisor
    // shows them to the operator. This process writes no log lines of its own.
    let Ok([control, _log]) = inherited::take::<2>() else {
        return ExitCode::FAILURE;
    };
    let mut supervisor: Supervisor = Channel::new(control, SetupPhase::Starting);
    let said = match confine() {
        Ok(names) => answer(&mut supervisor, names),
        Err(error) => refuse(
            &supervisor,
            &format!("popward-config is not confined: {error}"),
        ),
    };
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives up every right but reading, and proves it. Before that it starts the process that looks up
/// names, because the filter forbids starting a process. Returns the channel to that process.
fn confine() -> Result<names::Names, Box<dyn Error>> {
    server::end_after(LIFE_S);
    let names = names::start()?;
    server::drop_privileges(FILES, Root::Host)?;
    // A look-up that hangs would keep this process alive after the supervisor's death.
    server::end_with_parent()?;
    landlock::reading::restrict_to_reading()?;
    // The first use of the random generator looks for a device file. The filter forbids the call
    // for that, so the first use comes before the filter.
    let mut random = [0; 32];
    pair::provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| "no randomness")?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::TABLE])?;
    Ok(names)
}

fn answer(supervisor: &mut Supervisor, names: names::Names) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let Packet::Message(read, _) = supervisor.receive(&mut buffer)? else {
        return Err(ChannelError::Closed);
    };
    let SupervisorToConfig::Read {
        version,
        path,
        excerpts,
    } = read;
    if version != VERSION {
        let text = format!(
            "popward-config speaks protocol version {VERSION}, but the running popward speaks version {version}: restart popward"
        );
        return refuse(supervisor, &text);
    }
    let host = Host::this(names);
    let (config, warnings) = load::load(Path::new(path.as_str()), &host);
    for warning in warnings {
        supervisor.send(&ConfigToMonitor::Warning(Finding::truncated(&warning)))?;
    }
    match config {
        Ok(config) => hand_over(supervisor, config),
        Err(error) if excerpts => refuse(supervisor, &error.with_excerpts()),
        Err(error) => refuse(supervisor, &error.to_string()),
    }
}

fn refuse(supervisor: &Supervisor, why: &str) -> Result<(), ChannelError> {
    supervisor.send(&ConfigToMonitor::Refused(Finding::truncated(why)))
}
