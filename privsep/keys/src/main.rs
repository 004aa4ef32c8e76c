//! popward-keys: holds the TLS private keys and signs handshakes with them. It also makes the keys
//! of session tickets.
//!
//! It runs as an unprivileged user of its own, in an empty root directory. The monitor opens the
//! key files and passes the descriptors. Keys can open no file itself.

#![forbid(unsafe_code)]

mod key_ring;
mod signable;
mod syscalls;
mod tickets;

use key_ring::KeyRing;
use popward_proto::VERSION;
use popward_proto::account::FrontId;
use popward_proto::bounded::Text;
use popward_proto::keys::{FrontToKeys, KeysPhase, KeysToFront};
use popward_proto::monitor_keys::{KeysToMonitor, MonitorToKeys};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{self, Channel, ChannelError, PacketBuffer};
use popward_sys::log::Log;
use popward_sys::server::{self, Root};
use popward_sys::{landlock, locked_memory, seccomp};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;
use tickets::Tickets;

type Monitor = Channel<KeysToMonitor, MonitorToKeys>;
type Front = Channel<KeysToFront, FrontToKeys>;

/// Most fronts at once, including fronts that are ending.
const FRONTS_MAX: usize = 128;

fn main() -> ExitCode {
    let mut locked = false;
    let Some((control, log)) = server::start(|| confine(&mut locked)) else {
        return ExitCode::FAILURE;
    };
    if !locked {
        log.info(None, "the private keys can go to swap", &[]);
    }
    let result = serve(Channel::new(control, SetupPhase::Starting), &log);
    server::exit_code(result, &log)
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Confines this process. Sets `locked` if its memory cannot go to swap.
fn confine(locked: &mut bool) -> Result<(), Box<dyn std::error::Error>> {
    server::drop_privileges(FRONTS_MAX as u64 + 64, Root::Empty)?;
    *locked = locked_memory::lock()?;
    landlock::restrict(&[])?;
    // The library's first use looks for a device file. After the filter it could not.
    provider()
        .secure_random
        .fill(&mut [0; 32])
        .map_err(|_| "no randomness")?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::TABLE])?;
    Ok(())
}

/// All secrets of this process.
struct Secrets {
    keys: KeyRing,
    tickets: Tickets,
}

/// How long to wait for messages. One millisecond longer than until the next rotation of ticket
/// keys, because a wait that ends a moment early would only be repeated.
fn poll_timeout(tickets: &Tickets) -> nix::poll::PollTimeout {
    let Some(at) = tickets.next() else {
        return nix::poll::PollTimeout::NONE;
    };
    let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
    left.try_into().unwrap_or(nix::poll::PollTimeout::MAX)
}

/// Answers the monitor and the fronts until the channel to the monitor ends.
fn serve(mut monitor: Monitor, log: &Log) -> Result<(), ChannelError> {
    use nix::poll::{PollFd, PollFlags, poll};
    let mut buffer = PacketBuffer::for_messages();
    let mut secrets = Secrets {
        keys: KeyRing::default(),
        tickets: Tickets::new(|bytes| provider().secure_random.fill(bytes).ok()),
    };
    let mut fronts: Vec<(FrontId, Front)> = Vec::new();
    loop {
        secrets.tickets.rotate(Instant::now());
        let mut ready = vec![PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        ready.extend(
            fronts
                .iter()
                .map(|(_, front)| PollFd::new(front.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut ready, poll_timeout(&secrets.tickets)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(ChannelError::System(errno)),
        }
        let ready: Vec<bool> = ready.iter().map(|end| end.any() == Some(true)).collect();
        // In reverse order, because a removal moves only the fronts behind it.
        for place in (0..fronts.len()).rev().filter(|place| ready[place + 1]) {
            if let Err(error) = answer(&mut fronts[place].1, &mut secrets, &mut buffer, log) {
                let (gone, _) = fronts.remove(place);
                if error != ChannelError::Closed {
                    log.warning(None, "a front's channel ended", &[("error", &error)]);
                    // The front still runs, and every handshake there would fail now. So the
                    // monitor ends it.
                    monitor.send(&KeysToMonitor::BrokeRules(gone))?;
                }
            }
        }
        if ready[0] {
            hear_monitor(&mut monitor, &mut secrets, &mut fronts, &mut buffer, log)?;
        }
    }
}

/// Handles one message from the monitor.
fn hear_monitor(
    monitor: &mut Monitor,
    secrets: &mut Secrets,
    fronts: &mut Vec<(FrontId, Front)>,
    buffer: &mut PacketBuffer,
    log: &Log,
) -> Result<(), ChannelError> {
    let (message, mut descriptors) = monitor.receive(buffer)?;
    match (message, descriptors.pop()) {
        (MonitorToKeys::Settings { version, ticket_ms }, _) if version == VERSION => {
            secrets.tickets.set_period(ticket_ms);
            if monitor.phase() == SetupPhase::Serving {
                return Ok(());
            }
            monitor.enter(SetupPhase::Serving);
            monitor.send(&KeysToMonitor::Ready { version: VERSION })
        }
        (MonitorToKeys::Key(key), Some(file)) => {
            monitor.send(&match secrets.keys.load(key, &file.into()) {
                Ok(facts) => KeysToMonitor::Loaded(facts),
                Err(why) => KeysToMonitor::Unusable {
                    key,
                    why: Text::truncated(why),
                },
            })
        }
        (MonitorToKeys::Front(id), Some(socket)) if fronts.len() < FRONTS_MAX => {
            // The monitor has made it so that it does not block.
            fronts.push((id, Channel::new(socket, KeysPhase::Idle)));
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

/// Answers one request of a front. After an error, the front's channel ends. A front with several
/// requests at once can cause one, because its socket is then too full for the answers.
fn answer(
    front: &mut Front,
    secrets: &mut Secrets,
    buffer: &mut PacketBuffer,
    log: &Log,
) -> Result<(), ChannelError> {
    let (request, _) = front.receive(buffer)?;
    let FrontToKeys::Sign {
        key,
        scheme,
        message,
    } = request
    else {
        let tickets = secrets.tickets.at(Instant::now());
        return front.send(&tickets.map_or(KeysToFront::Refused, KeysToFront::Tickets));
    };
    let signature = signable::is_signable(scheme, message.as_slice())
        .then(|| secrets.keys.sign(key, scheme, message.as_slice()))
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
