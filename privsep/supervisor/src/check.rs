//! `popward --check`: a monitor on trial asks auth to look at the files that only auth's user can
//! read. Nothing is served.

use crate::config::Config;
use crate::monitors::Monitor;
use popward_parent::process::{Starter, readable};
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::log::{Level, NoMessage};
use popward_proto::log_line::{Line, escaped};
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_monitor::{MonitorToSupervisor, Start};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, nonblocking_pair};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long the trial may take. Auth has 10 s of it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Returns auth's warnings about its part of the configuration. All text is escaped, because it
/// goes to a terminal.
///
/// # Errors
///
/// Why auth cannot use its part, or could not be asked. The text is in words for the operator.
pub(crate) fn check(starter: &mut Starter, config: Rc<Config>) -> Result<Vec<String>, String> {
    let failed = |error: ChannelError| format!("popward-monitor: {error}");
    let start = Start {
        version: VERSION,
        first_front: FrontId(1),
        trial: true,
        oldest: true,
        connections_before: None,
        common: config.settings.common.clone(),
    };
    let pair = || nonblocking_pair().map_err(|errno| failed(ChannelError::System(errno)));
    let ((lines, theirs), (unused, _)) = (pair()?, pair()?);
    let monitor = Monitor::start(starter, config, (start, false), &[], &[theirs, unused]);
    let mut child = monitor.map_err(failed)?.child;
    let channel = child.channel.as_mut().ok_or(ChannelError::Closed);
    let answer = channel.and_then(|channel| {
        if !readable(&[channel.as_fd()], Instant::now() + PATIENCE) {
            return Err(ChannelError::WouldBlock);
        }
        channel.receive(&mut PacketBuffer::for_messages())
    });
    let answer = match answer {
        Ok((MonitorToSupervisor::Ready { .. }, _)) => Ok(()),
        Ok((MonitorToSupervisor::Unusable(why), _)) => Err(escaped(why.as_str())),
        Ok(_) => Err("popward-monitor: an answer that must not be".to_owned()),
        Err(error) => Err(failed(error)),
    };
    // The monitor is not needed any more. Its exit status does not matter.
    let _ = child.process.end(true);
    answer.map(|()| warnings(Channel::new(lines, SetupPhase::Serving)))
}

/// The warnings that were logged before the answer.
fn warnings(mut lines: Channel<NoMessage, Line>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut buffer = PacketBuffer::for_messages();
    while let Ok((line, _)) = lines.receive(&mut buffer) {
        let record = line.record;
        if record.level <= Level::Warning {
            let fields = record.fields.as_slice().iter();
            let values = fields.map(|(_, value)| value.as_str());
            let parts: Vec<&str> = [record.text.as_str()].into_iter().chain(values).collect();
            warnings.push(escaped(&parts.join(": ")));
        }
    }
    warnings
}
