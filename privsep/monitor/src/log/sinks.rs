//! The three ends of the log: standard error, journald's native protocol, syslog's (RFC 3164, as local sockets speak it).

use super::{Origin, QPOPPER, line, tag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::log::Level;
use popward_proto::monitor_config::Destination;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// syslog's facility `mail`, shifted as in a priority.
const MAIL: u8 = 2 << 3;

/// An open end.
#[derive(Debug)]
pub(super) struct Sink {
    to: Destination,
    socket: Option<UnixDatagram>,
}

impl Sink {
    pub(super) fn open(to: Destination) -> Self {
        let mut sink = Self { to, socket: None };
        sink.connect();
        sink
    }

    fn connect(&mut self) {
        let path = match self.to {
            Destination::Stderr => return,
            Destination::Journald => JOURNAL,
            Destination::Syslog => SYSLOG,
        };
        // Non-blocking: a log that stands still must not stop the mail.
        self.socket = UnixDatagram::unbound().ok().and_then(|socket| {
            socket.set_nonblocking(true).ok()?;
            socket.connect(path).ok()?;
            Some(socket)
        });
    }

    pub(super) fn write(
        &mut self,
        origin: Origin,
        level: Level,
        text: &str,
        fields: &[(String, String)],
    ) {
        let packet = match self.to {
            Destination::Stderr => return stderr(origin, level, text, fields),
            Destination::Journald => journal(origin, level, text, fields),
            Destination::Syslog => {
                let priority = MAIL | severity(level);
                let line = line(origin, text, fields);
                format!("<{priority}>{}: {line}", tag(origin)).into_bytes()
            }
        };
        if self
            .socket
            .as_ref()
            .is_some_and(|socket| socket.send(&packet).is_ok())
        {
            return;
        }
        // It may have been started again since.
        self.connect();
        if self
            .socket
            .as_ref()
            .is_none_or(|socket| socket.send(&packet).is_err())
        {
            stderr(origin, level, text, fields);
        }
    }
}

/// RFC 5424, table 2.
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 5,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

fn stderr(origin: Origin, level: Level, text: &str, fields: &[(String, String)]) {
    let level = format!("{level:?}").to_lowercase();
    let line = line(origin, text, fields);
    let mut out = std::io::stderr();
    let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    // Where nobody reads, lines are lost: the server must not stand still with its log.
    if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
        // One write, so that lines of several writers do not mix. There is nobody to tell if it fails.
        let _ = out.write_all(format!("{} {level} {line}\n", tag(origin)).as_bytes());
    }
}

/// systemd's native journal protocol: `NAME=value` lines; values with line ends carry their length instead.
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
    put("POPWARD_PROCESS", origin.role);
    put("POPWARD_PID", &origin.pid.to_string());
    for (name, value) in fields {
        put(&format!("POPWARD_{}", name.to_uppercase()), value);
    }
    packet
}
