//! The front's start: it takes what the monitor gives it, locks itself in, and only then accepts its first client.

use crate::front::{Front, FrontError, Given, Listening};
use crate::limits::lower;
use crate::links::MonitorEnd;
use crate::syscalls;
use crate::tls::remote_key::Keys;
use crate::tls::rules::{Coming, Rules};
use crate::tls::tickets::Tickets;
use nix::sys::socket::{setsockopt, sockopt};
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::monitor_auth::SetupPhase;
use popward_proto::monitor_front::{FrontSettings, FrontToMonitor, LISTENERS_MAX, MonitorToFront};
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::NotConfined;
use popward_sys::landlock::LandlockError;
use popward_sys::log::Log;
use popward_sys::seccomp::SeccompError;
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;

/// Descriptors beyond two a connection: channels, listeners, the event loop's own, new certificates.
const OTHER_FILES: u64 = 64;

/// Why a front did not begin to serve, or ceased.
#[derive(Debug)]
enum SetupError {
    /// The monitor's channel failed, or ended.
    Monitor(ChannelError),
    /// The monitor speaks another version.
    Version(u32),
    /// The monitor did not give something without which nothing can be served.
    Missing(&'static str),
    /// The process is not confined.
    NotConfined(NotConfined),
    /// Files are not out of its reach.
    Landlock(LandlockError),
    /// Other system calls are not.
    Seccomp(SeccompError),
    /// A system call failed.
    System(&'static str, nix::errno::Errno),
    /// The event loop failed.
    Front(FrontError),
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Monitor(error) => write!(out, "monitor's channel: {error}"),
            Self::Version(version) => {
                write!(out, "the monitor speaks version {version}, not {VERSION}")
            }
            Self::Missing(what) => write!(out, "the monitor gave no {what}"),
            Self::NotConfined(error) => error.fmt(out),
            Self::Landlock(error) => error.fmt(out),
            Self::Seccomp(error) => error.fmt(out),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
            Self::Front(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for SetupError {}

/// The whole life of the process.
pub fn main() -> ExitCode {
    let Ok([monitor, log]) = inherited::take::<2>() else {
        // Started by hand: there is nobody to tell.
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log).map(Arc::new) else {
        return ExitCode::FAILURE;
    };
    match serve(monitor, &log) {
        // The monitor ended, or ended us: that is how a front ends.
        Ok(()) | Err(SetupError::Monitor(ChannelError::Closed)) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(None, "front ends", &[("error", &error)]);
            ExitCode::FAILURE
        }
    }
}

fn serve(monitor: OwnedFd, log: &Arc<Log>) -> Result<(), SetupError> {
    let mut monitor = Channel::new(monitor, SetupPhase::Starting);
    let mut collected = collect(&mut monitor)?;
    let mut settings = collected
        .settings
        .take()
        .ok_or(SetupError::Missing("settings"))?;
    if collected.listeners.is_empty() {
        return Err(SetupError::Missing("listening socket"));
    }
    for listener in &collected.listeners {
        keep_alive(&listener.socket, settings.limits.stall_ms)
            .map_err(|errno| SetupError::System("listening socket's options", errno))?;
    }
    // Both before the root is empty: they read what the kernel shows of itself.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let configured_connections = settings.limits.connections;
    confine_files(&mut settings, log)?;
    let tickets = Tickets::new(Arc::clone(&collected.keys), settings.tls.ticket_ms);
    let tickets = Arc::new(tickets);
    let tls = collected.rules(&settings, &tickets, &monitor, log);
    monitor
        .set_nonblocking()
        .map_err(|errno| SetupError::System("monitor's channel", errno))?;
    monitor.enter(SetupPhase::Serving);
    let mut front = Front::new(Given {
        settings,
        configured_connections,
        listeners: collected.listeners,
        tls,
        tickets,
        monitor: MonitorEnd::new(monitor),
        auth: collected.auth,
        keys: collected.keys,
        log: Arc::clone(log),
        threads: threads.min(4),
    })
    .map_err(SetupError::Front)?;
    // Its first use looks for a device file that the filter would not let it look for.
    crate::tls::provider()
        .secure_random
        .fill(&mut [0; 32])
        .map_err(|_| SetupError::Missing("randomness"))?;
    // The threads are there by now, and the filter is theirs as well. They were started after the rest of the
    // confinement because that binds the thread that asks for it and those that it starts.
    seccomp::install(&[seccomp::RUNTIME, syscalls::FRONT]).map_err(SetupError::Seccomp)?;
    front.ready().map_err(SetupError::Monitor)?;
    front.run().map_err(SetupError::Front)
}

/// What the monitor gives before it says `Serve`.
#[derive(Default)]
struct Collected {
    settings: Option<FrontSettings>,
    listeners: Vec<Listening>,
    coming: Coming,
    auth: Option<OwnedFd>,
    keys: Arc<Keys>,
}

fn collect(monitor: &mut Channel<FrontToMonitor, MonitorToFront>) -> Result<Collected, SetupError> {
    use MonitorToFront as M;
    let mut buffer = PacketBuffer::for_messages();
    let mut collected = Collected::default();
    loop {
        let packet = monitor.receive(&mut buffer).map_err(SetupError::Monitor)?;
        let Packet::Message(message, descriptors) = packet else {
            continue;
        };
        match (message, descriptors.into_iter().next()) {
            (M::Settings(settings), _) if settings.version != VERSION => {
                return Err(SetupError::Version(settings.version));
            }
            (M::Settings(settings), _) => collected.settings = Some(*settings),
            (M::Listener { tls, headers }, Some(socket))
                if collected.listeners.len() < LISTENERS_MAX =>
            {
                collected.listeners.push(Listening {
                    socket: TcpListener::from(socket),
                    tls,
                    headers,
                });
            }
            (M::ClientAuthorities, Some(file)) => collected.coming.authorities(file),
            (M::Certificate { key, .. }, Some(file)) => collected.coming.certificate(key, file),
            (M::Auth, Some(socket)) => collected.auth = Some(socket),
            (M::Keys, Some(socket)) => collected.keys.replace(socket),
            (M::Serve, _) => return Ok(collected),
            // Beyond what a front can hold, or nothing that the permit table lets through now.
            _ => {}
        }
    }
}

impl Collected {
    /// The rules with the certificates that came. If one cannot be used, none is: TLS clients are turned away until a
    /// set comes that can be, and the others are served.
    fn rules(
        &mut self,
        settings: &FrontSettings,
        tickets: &Arc<Tickets>,
        monitor: &Channel<FrontToMonitor, MonitorToFront>,
        log: &Log,
    ) -> Option<Rules> {
        let coming = std::mem::take(&mut self.coming);
        if coming.is_empty() {
            return None;
        }
        coming
            .rules(settings.tls, &self.keys, tickets)
            .inspect_err(|error| {
                let why = Text::truncated(&error.to_string());
                if monitor.send(&FrontToMonitor::Unusable(why)).is_err() {
                    log.error(None, "certificate", &[("error", error)]);
                }
            })
            .ok()
    }
}

/// What a listening socket hands down to the connections that it accepts: no delay for small replies, and an end
/// for peers that are dead, so that none holds a lock (`stall_ms` is how long one may leave our bytes unacknowledged).
fn keep_alive(listener: &TcpListener, stall_ms: u32) -> nix::Result<()> {
    let socket = listener.as_fd();
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(&socket, sockopt::KeepAlive, &true)?;
    setsockopt(&socket, sockopt::TcpKeepIdle, &120)?;
    setsockopt(&socket, sockopt::TcpKeepInterval, &30)?;
    setsockopt(&socket, sockopt::TcpKeepCount, &4)?;
    setsockopt(&socket, sockopt::TcpUserTimeout, &stall_ms)
}

/// Gives up files, capabilities and whatever else can be given up before the threads start.
fn confine_files(settings: &mut FrontSettings, log: &Log) -> Result<(), SetupError> {
    use nix::sys::resource::{Resource, getrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| SetupError::System("limit on open files", errno))?;
    let wanted = u64::from(settings.limits.connections) * 2 + OTHER_FILES;
    let files = wanted.min(hard);
    if files < wanted {
        let possible = files.saturating_sub(OTHER_FILES) / 2;
        let possible = u32::try_from(possible).unwrap_or(u32::MAX);
        lower(&mut settings.limits, possible);
        log.warning(
            None,
            "the limit on open files permits fewer connections than were configured",
            &[
                ("files", &files),
                ("connections", &settings.limits.connections),
                ("unauthenticated", &settings.limits.unauthenticated),
            ],
        );
    }
    server::drop_privileges(files, Root::Empty).map_err(SetupError::NotConfined)?;
    landlock::restrict(&[]).map_err(SetupError::Landlock)
}

#[cfg(test)]
mod tests;
