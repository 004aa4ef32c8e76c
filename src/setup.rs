//! The front's start. It receives its settings from the monitor, confines itself, and only then
//! accepts its first client.

use crate::channels::MonitorChannel;
use crate::front::{Front, FrontError, FrontParts, ListeningSocket};
use crate::limits::lower;
use crate::syscalls;
use crate::tls::certificates::Unusable;
use crate::tls::remote_key::Keys;
use crate::tls::rules::{CertificateSet, Rules};
use crate::tls::tickets::Tickets;
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::listen::LISTENERS_MAX;
use popward_proto::monitor_front::{FrontSettings, FrontToMonitor, MonitorToFront};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{self, Channel, ChannelError, PacketBuffer};
use popward_sys::confine::NotConfined;
use popward_sys::log::Log;
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

/// Descriptors that a front needs besides two for each connection: channels, listening sockets, the
/// event loop's own, new certificates.
const OTHER_FILES: u64 = 64;

/// Why a front did not begin to serve, or ended.
#[derive(Debug)]
enum SetupError {
    /// The monitor's channel failed, or ended.
    Monitor(ChannelError),
    /// The monitor speaks another version of the protocol. It has this number.
    Version(u32),
    /// The monitor did not send this, and the front cannot serve without it.
    Missing(&'static str),
    /// Privileges could not be dropped.
    NotConfined(NotConfined),
    /// A system call failed.
    System(&'static str, nix::errno::Errno),
    /// A certificate cannot be used.
    Certificate(Unusable),
    /// The event loop failed.
    Front(FrontError),
}

impl std::fmt::Display for SetupError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Monitor(error) => write!(out, "monitor's channel: {error}"),
            Self::Version(version) => {
                write!(
                    out,
                    "the monitor speaks protocol version {version}, this front speaks {VERSION}"
                )
            }
            Self::Missing(what) => write!(out, "the monitor sent no {what}"),
            Self::NotConfined(error) => error.fmt(out),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
            Self::Certificate(error) => error.fmt(out),
            Self::Front(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for SetupError {}

/// Runs the front from start to end.
pub fn main() -> ExitCode {
    let Ok([monitor, log]) = inherited::take::<2>() else {
        // The front was started by hand. Without the monitor there is no log to write to.
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log).map(Arc::new) else {
        return ExitCode::FAILURE;
    };
    match serve(monitor, &log) {
        // A front ends normally when the monitor ends, or closes the channel.
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
    // The number of threads is read before the root directory is empty, because the library reads
    // the cgroup's limit from the kernel's files.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    confine_files(&mut settings, log)?;
    let tickets = Tickets::new(Arc::clone(&collected.keys), settings.tls.ticket_ms);
    let tickets = Arc::new(tickets);
    let tls = collected.rules(&settings, &tickets, &monitor)?;
    monitor
        .set_nonblocking()
        .map_err(|errno| SetupError::System("monitor's channel", errno))?;
    monitor.enter(SetupPhase::Serving);
    let sessions = collected.sessions.take();
    let sessions = sessions.ok_or(SetupError::Missing("channel from sessions"))?;
    let sessions = Channel::new(sessions, SetupPhase::Serving);
    let mut front = Front::new(FrontParts {
        settings,
        listeners: collected.listeners,
        tls,
        tickets,
        monitor: MonitorChannel::new(monitor),
        sessions,
        auth: collected.auth,
        keys: collected.keys,
        log: Arc::clone(log),
        threads: threads.min(4),
    })
    .map_err(SetupError::Front)?;
    // The first use of the random numbers looks for a device file. The filter would not permit this
    // later.
    crate::tls::provider()
        .secure_random
        .fill(&mut [0; 32])
        .map_err(|_| SetupError::Missing("random numbers"))?;
    // The filter applies to all threads, and these have been started. They were started after the
    // rest of the confinement, because the rest applies only to the thread that asks for it and to
    // threads that it starts later.
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::FRONT])
        .map_err(SetupError::NotConfined)?;
    front.ready().map_err(SetupError::Monitor)?;
    front.run().map_err(SetupError::Front)
}

/// The messages of the monitor before `Serve`.
#[derive(Default)]
struct Collected {
    settings: Option<FrontSettings>,
    listeners: Vec<ListeningSocket>,
    certificates: CertificateSet,
    sessions: Option<OwnedFd>,
    auth: Option<OwnedFd>,
    keys: Arc<Keys>,
}

fn collect(monitor: &mut Channel<FrontToMonitor, MonitorToFront>) -> Result<Collected, SetupError> {
    use MonitorToFront as M;
    let mut buffer = PacketBuffer::for_messages();
    let mut collected = Collected::default();
    loop {
        let received = monitor.receive(&mut buffer);
        let (message, descriptors) = received.map_err(SetupError::Monitor)?;
        match (message, descriptors.into_iter().next()) {
            (M::Settings(settings), _) if settings.version != VERSION => {
                return Err(SetupError::Version(settings.version));
            }
            (M::Settings(settings), _) => collected.settings = Some(*settings),
            (M::Listener { tls, headers }, Some(socket))
                if collected.listeners.len() < LISTENERS_MAX =>
            {
                collected.listeners.push(ListeningSocket {
                    socket: TcpListener::from(socket),
                    tls,
                    headers,
                });
            }
            (M::ClientAuthorities, Some(file)) => collected.certificates.authorities(file),
            (M::Certificate(key), Some(file)) => collected.certificates.certificate(key, file),
            (M::Sessions, Some(socket)) => collected.sessions = Some(socket),
            (M::Auth, Some(socket)) => collected.auth = Some(socket),
            (M::Keys, Some(socket)) => collected.keys.replace(socket),
            (M::Serve, _) => return Ok(collected),
            // Ignored: more listening sockets than a front can hold. The permit table admits no
            // other message here.
            _ => {}
        }
    }
}

impl Collected {
    /// Makes the TLS rules with the certificates that came. Returns none if no certificate came. If
    /// a certificate is unusable, the monitor is told why, and this process ends.
    fn rules(
        &mut self,
        settings: &FrontSettings,
        tickets: &Arc<Tickets>,
        monitor: &Channel<FrontToMonitor, MonitorToFront>,
    ) -> Result<Option<Rules>, SetupError> {
        let certificates = std::mem::take(&mut self.certificates);
        if certificates.is_empty() {
            return Ok(None);
        }
        let rules = certificates.rules(settings.tls, &self.keys, tickets);
        rules.map(Some).map_err(|(key, error)| {
            let why = Text::truncated(&error.to_string());
            let told = monitor.send(&FrontToMonitor::Unusable { key, why });
            told.map_or_else(SetupError::Monitor, |()| SetupError::Certificate(error))
        })
    }
}

/// Gives up files, capabilities and other privileges before the threads start. Lowers the limits on
/// connections if the limit on open files is too low for them.
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
        if !settings.connections_known {
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
    }
    server::drop_privileges(files, Root::Empty).map_err(SetupError::NotConfined)?;
    landlock::restrict(&[]).map_err(SetupError::NotConfined)
}
