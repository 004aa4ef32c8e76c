//! The three destinations of the log: standard error, journald by its native protocol, and syslog
//! by the protocol of local sockets (RFC 3164). popward-metrics gets a copy of each record where it
//! runs.

use crate::line::{Origin, QPOPPER, line, tag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use popward_proto::log::Level;
use popward_proto::supervisor_log::Destination;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// Where popward-metrics takes records: `packaging/systemd/popward-metrics.socket`.
const METRICS: &str = "/run/popward-metrics/records";

/// How long popward-metrics is not looked for after it was not there.
const PAUSE: Duration = Duration::from_secs(1);

/// The facility `mail` of syslog, shifted to its place in a priority.
const MAIL: u8 = 2 << 3;

/// An open destination.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The server's process id.
    server: u32,
    /// The server's standard error.
    stderr: File,
    to: Destination,
    socket: Option<UnixDatagram>,
    metrics: Metrics,
}

/// popward-metrics. It need not run, and no line waits for it.
#[derive(Debug, Default)]
struct Metrics {
    socket: Option<UnixDatagram>,
    /// When it was last looked for.
    tried: Option<Instant>,
}

impl Metrics {
    fn send(&mut self, packet: impl FnOnce() -> Vec<u8>) {
        let paused = |tried: Instant| tried.elapsed() < PAUSE;
        if self.socket.is_none() && !self.tried.is_some_and(paused) {
            self.tried = Some(Instant::now());
            self.socket = reach(METRICS);
        }
        let Some(socket) = &self.socket else {
            return;
        };
        match socket.send(&packet()) {
            // It is slow: this record is not counted.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // It may have been started again.
            Err(_) => self.socket = None,
            Ok(_) => {}
        }
    }
}

/// A socket to the program that takes datagrams at `path`.
fn reach(path: &str) -> Option<UnixDatagram> {
    // The socket is non-blocking, because a log that accepts no lines must not stop the server.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, SockType::Datagram, flags, None);
    let socket = UnixDatagram::from(made.ok()?);
    socket.connect(path).ok()?;
    Some(socket)
}

impl Sink {
    /// Standard error, until another destination is known.
    pub(crate) fn open(server: u32, stderr: OwnedFd) -> Self {
        Self {
            server,
            stderr: stderr.into(),
            to: Destination::Stderr,
            socket: None,
            metrics: Metrics::default(),
        }
    }

    /// Writes to this destination from now on. If its socket cannot be reached, each line tries
    /// again, and goes to standard error if that fails.
    pub(crate) fn change(&mut self, to: Destination) {
        self.to = to;
        self.connect();
    }

    fn connect(&mut self) {
        self.socket = match self.to {
            Destination::Stderr => None,
            Destination::Journald => reach(JOURNAL),
            Destination::Syslog => reach(SYSLOG),
        };
    }

    pub(crate) fn write(
        &mut self,
        origin: Origin,
        level: Level,
        text: &str,
        fields: &[(String, String)],
    ) {
        self.metrics.send(|| journal(origin, level, text, fields));
        let packet = match self.to {
            Destination::Stderr => return self.write_stderr(origin, level, text, fields),
            Destination::Journald => journal(origin, level, text, fields),
            Destination::Syslog => {
                let priority = MAIL | severity(level);
                let line = line(origin, text, fields);
                format!("<{priority}>{}: {line}", tag(origin, self.server)).into_bytes()
            }
        };
        if self
            .socket
            .as_ref()
            .is_some_and(|socket| socket.send(&packet).is_ok())
        {
            return;
        }
        // The log's program may have been started again. Then its socket is a new one.
        self.connect();
        if self
            .socket
            .as_ref()
            .is_none_or(|socket| socket.send(&packet).is_err())
        {
            self.write_stderr(origin, level, text, fields);
        }
    }

    fn write_stderr(
        &mut self,
        origin: Origin,
        level: Level,
        text: &str,
        fields: &[(String, String)],
    ) {
        let level = format!("{level:?}").to_lowercase();
        let line = line(origin, text, fields);
        let mut ready = [PollFd::new(self.stderr.as_fd(), PollFlags::POLLOUT)];
        // If nobody reads standard error, the line is lost. Waiting for a reader would stop the
        // log.
        if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            let tag = tag(origin, self.server);
            // One write for the whole line, so that lines of several processes do not mix. An error
            // is ignored, because there is no other place to report it.
            let _ = self
                .stderr
                .write_all(format!("{tag} {level} {line}\n").as_bytes());
        }
    }
}

/// Returns the numerical severity of a level (RFC 5424, table 2).
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

/// Returns a packet of systemd's native journal protocol. It has one line `NAME=value` for each
/// field. A value that contains a line end follows its name on a new line, with its length before
/// it.
fn journal(origin: Origin, level: Level, text: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(512);
    let mut put = |name: &str, value: &str| {
        packet.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            packet.push(b'\n');
            packet.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            packet.push(b'=');
        }
        packet.extend_from_slice(value.as_bytes());
        packet.push(b'\n');
    };
    put("MESSAGE", &line(origin, text, fields));
    put("PRIORITY", &severity(level).to_string());
    put("SYSLOG_FACILITY", &(MAIL >> 3).to_string());
    let qpopper = origin.role == QPOPPER;
    put(
        "SYSLOG_IDENTIFIER",
        if qpopper { QPOPPER } else { "popward" },
    );
    put("POPWARD_TEXT", text);
    put("POPWARD_PROCESS", origin.role);
    put("POPWARD_PID", &origin.pid.to_string());
    for (name, value) in fields {
        put(&format!("POPWARD_{}", name.to_uppercase()), value);
    }
    packet
}
