//! popward-config: reads popward.toml and the files that it names, and checks them. It sends the
//! result to the supervisor as typed messages and open descriptors. Then it ends.
//!
//! popward-config runs as root without any capability, because only root may be able to read the
//! configuration and the keys. If a user other than root starts popward, it runs as that user. It
//! can read files, but it cannot change any: Landlock forbids writing, and the system call filter
//! permits no call that makes a socket, starts a process or opens a file for writing.
//!
//! With the argument `names`, the executable looks up users and groups as `nobody`. The module
//! [`names`] says why. With the argument `config` or `host` it is a command of the operator:
//! [`tool`].

#![forbid(unsafe_code)]

mod check;
mod config;
mod confine;
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
mod report;
mod sources;
mod syscalls;
mod tool;
mod values;

use confine::confine;
use hand_over::{Supervisor, hand_over};
use host::Host;
use nix::errno::Errno;
use popward_proto::VERSION;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::{ConfigToSupervisor, Finding, SupervisorToConfig};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use popward_sys::inherited;
use std::path::Path;
use std::process::ExitCode;

/// Why no descriptor can be sent. No mistake of the configuration, so another start may succeed.
const TOO_MANY_UNREAD: &str = "popward-config cannot pass on open files: other programs of root's \
    have sent more descriptors that nobody has read than the limit on open files permits";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(names::ARGUMENT) => return names::main(),
        Some(tool::CONFIG) => return tool::main(tool::in_force),
        Some(tool::HOST) => {
            return tool::main(|config, at| Ok(tool::of_host(&config, at)));
        }
        _ => {}
    }
    // Errors and warnings go to the supervisor over this channel, because the supervisor
    // shows them to the operator. This process writes no log lines of its own.
    let Ok([control]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    let mut supervisor: Supervisor = Channel::new(control, SetupPhase::Starting);
    let said = match confine(false) {
        Ok(names) => answer(&mut supervisor, names),
        Err(error) => {
            let why = format!("popward-config is not confined: {error}");
            refuse(&supervisor, &why)
        }
    };
    ExitCode::from(u8::from(said.is_err()))
}

fn answer(supervisor: &mut Supervisor, names: names::Names) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let (read, _) = supervisor.receive(&mut buffer)?;
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
        supervisor.send(&ConfigToSupervisor::Warning(Finding::truncated(&warning)))?;
    }
    match config {
        Ok(config) => {
            let said = hand_over(supervisor, config);
            if said == Err(ChannelError::System(Errno::ETOOMANYREFS)) {
                let why = Finding::truncated(TOO_MANY_UNREAD);
                supervisor.send(&ConfigToSupervisor::Warning(why))?;
            }
            said
        }
        Err(error) if excerpts => refuse(supervisor, &error.with_excerpts()),
        Err(error) => refuse(supervisor, &error.to_string()),
    }
}

fn refuse(supervisor: &Supervisor, why: &str) -> Result<(), ChannelError> {
    supervisor.send(&ConfigToSupervisor::Refused(Finding::truncated(why)))
}
