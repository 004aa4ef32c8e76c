//! `popward --check`: starts auth to try the files that only auth's user can read. It sends auth
//! its part of the configuration, waits for the answer, and ends auth.

use crate::config::Config;
use crate::log::escaped;
use crate::reader;
use popward_proto::log::{Level, LogPhase, NoMessage, Record};
use popward_proto::monitor_auth::{AuthToMonitor, MonitorToAuth, SetupPhase};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::spawn::{ChildIdentity, Spawner};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long auth may take to look at its files.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the warnings of auth about its part of the configuration. All text of auth is escaped,
/// because it goes to a terminal.
///
/// # Errors
///
/// Why auth cannot use its part, or could not be asked. The text is in words for the operator.
pub(crate) fn of_auth(config: &Config) -> Result<Vec<String>, String> {
    let identity = config.accounts.map(|accounts| ChildIdentity {
        uid: accounts.auth.0,
        gid: accounts.auth.1,
        effective_gid: accounts.auth.1,
        groups: Vec::new(),
        keep_chroot: false,
    });
    let executable = config.libexec.join("popward-auth");
    let failed = |error: ChannelError| format!("{}: {error}", executable.display());
    let started = reader::spawned(&mut Spawner::default(), &executable, identity.as_ref());
    let (child, control, log) = started.map_err(failed)?;
    let mut auth: Channel<MonitorToAuth, AuthToMonitor> =
        Channel::new(control, SetupPhase::Starting);
    let answer = asked(&mut auth, config);
    let warnings = warnings(Channel::new(log, LogPhase::Open));
    // Auth is no longer needed. Its exit status does not matter, because its answer is known.
    let _ = reader::end(&child, true);
    match answer.map_err(failed)? {
        None => Ok(warnings),
        Some(why) => Err(escaped(&why)),
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
    if !reader::wait(&[auth.as_fd()], Instant::now() + PATIENCE) {
        return Ok(Some("auth does not answer".to_owned()));
    }
    match auth.receive(&mut PacketBuffer::for_messages())? {
        Packet::Message(AuthToMonitor::Ready { .. }, _) => Ok(None),
        Packet::Message(AuthToMonitor::Unusable(why), _) => Ok(Some(why.into())),
        _ => Err(ChannelError::Closed),
    }
}

/// Returns the warnings that auth logged before its answer.
fn warnings(mut log: Channel<NoMessage, Record>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut buffer = PacketBuffer::for_messages();
    if log.set_nonblocking().is_err() {
        return warnings;
    }
    while let Ok(Packet::Message(record, _)) = log.receive(&mut buffer) {
        if record.level <= Level::Warning {
            let fields = record.fields.as_slice().iter();
            let values = fields.map(|(_, value)| value.as_str());
            let parts: Vec<&str> = [record.text.as_str()].into_iter().chain(values).collect();
            warnings.push(escaped(&parts.join(": ")));
        }
    }
    warnings
}
