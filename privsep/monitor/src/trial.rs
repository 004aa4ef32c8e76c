//! `popward --check`: starts auth to try the files that only auth's user can read. It sends auth
//! its part of the configuration, waits for the answer, and ends auth.

use crate::config::Config;
use crate::monitor::{READY, Supervisor};
use crate::start_error::StartError;
use crate::starter::{Starter, identity};
use popward_parent::events::Events;
use popward_parent::log::{LogWriter, Source};
use popward_parent::process::{end, readable};
use popward_proto::log::{LogPhase, NoMessage, Record};
use popward_proto::log_line::{Origin, Role};
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long auth may take to look at its files.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks auth whether it can use its part of the configuration, and passes on what it logs.
///
/// # Errors
///
/// Why auth cannot use its part, or could not be asked.
pub(crate) fn of_auth(
    config: &Config,
    supervisor: &Supervisor,
    log: &mut LogWriter,
) -> Result<(), StartError> {
    let system = |errno| StartError::System("popward-auth", errno);
    let events = Events::new(supervisor.as_fd()).map_err(system)?;
    let mut starter =
        Starter::new(config, events).map_err(|(path, errno)| StartError::Open(path, errno))?;
    let identity = identity(config, Role::Auth);
    let started = starter.start(Role::Auth, &[], identity.as_ref(), &[]);
    let started = started.map_err(system)?;
    let mut auth: Channel<MonitorToAuth, AuthToMonitor> =
        Channel::new(started.control, SetupPhase::Starting);
    let answer = asked(&mut auth, config);
    let origin = Origin {
        role: Role::Auth,
        pid: started.child.pid,
    };
    pass_on(
        Channel::new(started.log, LogPhase::Open),
        &mut Source::new(origin, None),
        log,
    );
    // Auth is not needed any more. Its exit status does not matter, because its answer is known.
    let _ = end(&started.child, true);
    match answer {
        Ok(None) => supervisor.send(&READY).map_err(StartError::Supervisor),
        Ok(Some(why)) => Err(StartError::Auth(why)),
        Err(error) => {
            let auth = config.common.libexec.as_path().join("popward-auth");
            Err(StartError::Auth(format!("{}: {error}", auth.display())))
        }
    }
}

/// Sends auth its part and waits for the answer. Returns why auth cannot use it; `None`: auth can.
fn asked(
    auth: &mut Channel<MonitorToAuth, AuthToMonitor>,
    config: &Config,
) -> Result<Option<String>, ChannelError> {
    for message in config.for_auth() {
        auth.send(&message)?;
    }
    if !readable(&[auth.as_fd()], Instant::now() + PATIENCE) {
        return Ok(Some("auth does not answer".to_owned()));
    }
    match auth.receive(&mut PacketBuffer::for_messages())? {
        Packet::Message(AuthToMonitor::Ready { .. }, _) => Ok(None),
        Packet::Message(AuthToMonitor::Unusable(why), _) => Ok(Some(why.into())),
        _ => Err(ChannelError::Closed),
    }
}

/// Passes on what auth logged before its answer.
fn pass_on(mut from: Channel<NoMessage, Record>, auth: &mut Source, log: &mut LogWriter) {
    let mut buffer = PacketBuffer::for_messages();
    if from.set_nonblocking().is_ok() {
        while let Ok(Packet::Message(record, _)) = from.receive(&mut buffer) {
            auth.write(record, log);
        }
    }
}
