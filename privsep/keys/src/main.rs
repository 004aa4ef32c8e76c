//! popward-keys: holds the TLS private keys and signs handshakes with them, and makes the keys of session tickets.
//!
//! Runs as its own unprivileged user in an empty root directory. It reads key files from descriptors that the monitor
//! opened; it may touch nothing else.

#![forbid(unsafe_code)]

mod form;
mod ring;
mod syscalls;
mod tickets;

use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::bounded::Text;
use popward_proto::keys::{FrontToKeys, KeysPhase, KeysToFront};
use popward_proto::monitor_auth::SetupPhase;
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity};
use popward_sys::log::Log;
use popward_sys::{inherited, landlock, seccomp};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;
use tickets::Tickets;

type Monitor = Channel<KeysToMonitor, MonitorToKeys>;
type Front = Channel<KeysToFront, FrontToKeys>;

/// Most fronts at once, those that are ending among them.
const FRONTS_MAX: usize = 128;

fn main() -> ExitCode {
    let Ok([control, log]) = inherited::take::<2>() else {
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log) else {
        return ExitCode::FAILURE;
    };
    if let Err(error) = confine() {
        log.error(None, "not confined", &[("error", &error)]);
        return ExitCode::FAILURE;
    }
    match serve(Channel::new(control, SetupPhase::Starting), &log) {
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(None, "the monitor broke the rules", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn confine() -> Result<(), Box<dyn std::error::Error>> {
    confine::harden(FRONTS_MAX as u64 + 64)?;
    let as_root = confine::server::empty_root()?;
    confine::drop_capabilities(&[])?;
    let identity = Identity::current().ok_or("between two users")?;
    // Under a monitor that is not root nobody can give groups up: they are what everybody here has.
    let groups = if as_root {
        Vec::new()
    } else {
        confine::groups()?
    };
    confine::prove(&identity, &groups, &[])?;
    landlock::restrict(&[])?;
    // Its first use looks for a device file that the filter would not let it look for.
    provider()
        .secure_random
        .fill(&mut [0; 32])
        .map_err(|_| "no randomness")?;
    seccomp::install(&[seccomp::RUNTIME, syscalls::TABLE])?;
    Ok(())
}

/// All that is kept here.
struct Kept {
    keys: ring::Ring,
    tickets: Tickets,
}

/// How long nothing is due; a millisecond more, so that it is due then.
fn patience(tickets: &Tickets) -> nix::poll::PollTimeout {
    let Some(at) = tickets.next() else {
        return nix::poll::PollTimeout::NONE;
    };
    let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
    left.try_into().unwrap_or(nix::poll::PollTimeout::MAX)
}

fn serve(mut monitor: Monitor, log: &Log) -> Result<(), ChannelError> {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut buffer = PacketBuffer::for_messages();
    let mut kept = Kept {
        keys: ring::Ring::default(),
        tickets: Tickets::new(|bytes| provider().secure_random.fill(bytes).ok()),
    };
    let mut fronts: Vec<(FrontId, Front)> = Vec::new();
    loop {
        kept.tickets.rotate(Instant::now());
        let mut ready = vec![PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        ready.extend(
            fronts
                .iter()
                .map(|(_, front)| PollFd::new(front.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut ready, patience(&kept.tickets)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ChannelError::System(errno)),
        }
        let ready: Vec<bool> = ready.iter().map(|end| end.any() == Some(true)).collect();
        // Backwards: what is removed leaves the places before it as they were.
        for place in (0..fronts.len()).rev().filter(|place| ready[place + 1]) {
            if let Err(error) = answer(&mut fronts[place].1, &mut kept, &mut buffer, log) {
                let (gone, _) = fronts.remove(place);
                if error != ChannelError::Closed {
                    log.warning(None, "a front's channel ended", &[("error", &error)]);
                    // It lives, and could do no handshake any more.
                    monitor.send(&KeysToMonitor::BrokeRules(gone))?;
                }
            }
        }
        if ready[0] {
            hear(&mut monitor, &mut kept, &mut fronts, &mut buffer, log)?;
        }
    }
}

fn hear(
    monitor: &mut Monitor,
    kept: &mut Kept,
    fronts: &mut Vec<(FrontId, Front)>,
    buffer: &mut PacketBuffer,
    log: &Log,
) -> Result<(), ChannelError> {
    let Packet::Message(message, mut descriptors) = monitor.receive(buffer)? else {
        return Ok(());
    };
    match (message, descriptors.pop()) {
        (MonitorToKeys::Settings { version, ticket_ms }, _) if version == VERSION => {
            kept.tickets.set_period(ticket_ms);
            if monitor.phase() == SetupPhase::Serving {
                return Ok(());
            }
            monitor.enter(SetupPhase::Serving);
            monitor.send(&KeysToMonitor::Ready { version: VERSION })
        }
        (MonitorToKeys::Key(key), Some(file)) => {
            monitor.send(&match kept.keys.load(key, file.into()) {
                Ok(facts) => KeysToMonitor::Loaded(facts),
                Err(why) => KeysToMonitor::Unusable {
                    key,
                    why: Text::truncated(why),
                },
            })
        }
        (MonitorToKeys::Front(id), Some(socket)) if fronts.len() < FRONTS_MAX => {
            let front = Channel::new(socket, KeysPhase::Idle);
            if front.set_nonblocking().is_ok() {
                fronts.push((id, front));
            }
            Ok(())
        }
        _ => {
            log.error(
                None,
                "another version of the monitor, or too many fronts",
                &[],
            );
            Err(ChannelError::Closed)
        }
    }
}

/// Answers one request. A front that does not take its answer has asked too much at once, and is ended.
fn answer(
    front: &mut Front,
    kept: &mut Kept,
    buffer: &mut PacketBuffer,
    log: &Log,
) -> Result<(), ChannelError> {
    let Packet::Message(request, _) = front.receive(buffer)? else {
        return Err(ChannelError::Closed);
    };
    let FrontToKeys::Sign {
        key,
        scheme,
        message,
    } = request
    else {
        let tickets = kept.tickets.at(Instant::now());
        return front.send(&tickets.map_or(KeysToFront::Refused, KeysToFront::Tickets));
    };
    let signature = form::is_handshake(scheme, message.as_slice())
        .then(|| kept.keys.sign(key, scheme, message.as_slice()))
        .flatten();
    if let Some(signature) = signature {
        return front.send(&KeysToFront::Signature(signature));
    }
    log.warning(
        None,
        "refused to sign",
        &[("key", &key.0), ("scheme", &scheme)],
    );
    front.send(&KeysToFront::Refused)
}
