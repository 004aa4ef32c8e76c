//! popward-metrics: counts the server's log records, and shows the counts in the text form of
//! `OpenMetrics`.
//!
//! It runs as a user of its own, beside the server, and is started by systemd or by hand. It has no
//! secret and reaches no process of the server: popward-log sends it a copy of each record, and
//! waits for nothing. Under its system call filter and Landlock it opens no file and makes no
//! socket. It inherits or makes its sockets before.

#![forbid(unsafe_code)]

mod counts;
mod page;
mod record;
mod sessions;
mod syscalls;

use counts::Counts;
use lexopt::Arg;
use nix::sys::socket::{AddressFamily, SockType, SockaddrLike as _, SockaddrStorage};
use nix::sys::socket::{getsockname, getsockopt, sockopt};
use nix::sys::stat::{Mode, umask};
use page::{Listener, Page};
use popward_sys::server::{self, Root};
use popward_sys::{landlock, seccomp, systemd};
use std::error::Error;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Barrier, Mutex};

const USAGE: &str = "usage: popward-metrics [--records PATH] [--listen WHERE]... [--sessions PATH]\
    \n\
    \n  --records PATH  take records at this local socket (popward-log sends them to\
    \n                  /run/popward-metrics/records)\
    \n  --listen WHERE  answer HTTP at this ADDRESS:PORT or local socket (/PATH)\
    \n  --sessions PATH answer HTTP at this local socket, and tell who is logged in. Only root\
    \n                  can connect (popwardctl asks at /run/popward-metrics/sessions)\
    \n  --help          print this text\
    \n  --version       print the version\
    \n\nWithout options, systemd passes the sockets.\n";

/// Most octets of a record: it has at most 20 fields of at most 256 characters, and its line.
const RECORD_MAX: usize = 65_536;

/// The name of the local socket of systemd's that tells who is logged in.
const SESSIONS: &str = "sessions";

/// Most places to answer at.
const LISTENERS_MAX: usize = 8;

/// Most open descriptors: the sockets, one client for each listener, and the standard streams.
const FILES: u64 = 32;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "popward-metrics: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The sockets: where records come from, and where clients connect to.
#[derive(Debug, Default)]
struct Sockets {
    records: Option<UnixDatagram>,
    listeners: Vec<Listener>,
}

fn run() -> Result<(), Box<dyn Error>> {
    systemd::close_others()?;
    let Some(sockets) = sockets()? else {
        std::io::stdout().write_all(USAGE.as_bytes())?;
        return Ok(());
    };
    let Some(records) = sockets.records else {
        return Err(
            "expected a socket for records: --records, or the unit popward-metrics.socket".into(),
        );
    };
    if !(1..=LISTENERS_MAX).contains(&sockets.listeners.len()) {
        return Err(format!("expected 1 to {LISTENERS_MAX} places to listen at").into());
    }
    let counts = Arc::new(Mutex::new(Counts::new()));
    // A starting thread makes calls that the filter forbids. So all of them stand before it.
    let started = Arc::new(Barrier::new(sockets.listeners.len() + 1));
    for listener in sockets.listeners {
        let (counts, started) = (Arc::clone(&counts), Arc::clone(&started));
        std::thread::Builder::new().spawn(move || {
            started.wait();
            listener.serve(&|page| match page {
                Page::Counts => counts.lock().ok()?.page(),
                Page::Sessions => counts.lock().ok()?.sessions(),
            });
        })?;
    }
    started.wait();
    server::drop_privileges(FILES, Root::Host)?;
    landlock::restrict(&[])?;
    seccomp::install(&[seccomp::RUNTIME, syscalls::TABLE])?;
    let mut packet = vec![0; RECORD_MAX];
    loop {
        let length = records.recv(&mut packet)?;
        let mut counts = counts.lock().map_err(|_| "a thread has died")?;
        counts.packet(packet.get(..length).unwrap_or_default());
    }
}

/// The sockets of the command line, or else of systemd. `None`: the usage text is wanted.
fn sockets() -> Result<Option<Sockets>, Box<dyn Error>> {
    let mut sockets = Sockets::default();
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Arg::Long("records") => {
                sockets.records = Some(records(Path::new(&words.value()?))?);
            }
            Arg::Long("listen") => {
                let place = words.value()?.into_string().map_err(|_| "expected UTF-8")?;
                sockets.listeners.push(listen(&place)?);
            }
            Arg::Long("sessions") => {
                let place = words.value()?.into_string().map_err(|_| "expected UTF-8")?;
                sockets.listeners.push(for_root(&place)?);
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("version") => {
                writeln!(
                    std::io::stdout(),
                    "popward-metrics {}",
                    env!("CARGO_PKG_VERSION")
                )?;
                std::process::exit(0);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    for (socket, _) in systemd::sockets()? {
        sockets.inherit(socket)?;
    }
    Ok(Some(sockets))
}

impl Sockets {
    /// Takes a socket of systemd's by its kind.
    fn inherit(&mut self, socket: OwnedFd) -> Result<(), Box<dyn Error>> {
        let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
        let is_local = address.family() == Some(AddressFamily::Unix);
        match (getsockopt(&socket, sockopt::SockType)?, is_local) {
            (SockType::Datagram, true) => self.records = Some(socket.into()),
            (SockType::Stream, true) => {
                let listener = UnixListener::from(socket);
                let address = listener.local_addr()?;
                let name = address.as_pathname().and_then(Path::file_name);
                self.listeners.push(match name {
                    Some(name) if name == SESSIONS => Listener::Root(listener),
                    _ => Listener::Unix(listener),
                });
            }
            (SockType::Stream, false) => self.listeners.push(Listener::Tcp(socket.into())),
            _ => return Err("expected a local datagram socket and stream sockets".into()),
        }
        Ok(())
    }
}

fn records(path: &Path) -> Result<UnixDatagram, String> {
    remove_left(path);
    UnixDatagram::bind(path).map_err(|error| format!("--records {}: {error}", path.display()))
}

fn listen(place: &str) -> Result<Listener, String> {
    let listener = if place.starts_with('/') {
        remove_left(Path::new(place));
        UnixListener::bind(place).map(Listener::Unix)
    } else {
        TcpListener::bind(place).map(Listener::Tcp)
    };
    listener.map_err(|error| format!("--listen {place}: {error}"))
}

/// A local socket to which only root can connect, and this process's user.
fn for_root(place: &str) -> Result<Listener, String> {
    remove_left(Path::new(place));
    // There is no other thread yet.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(place);
    umask(before);
    let listener = listener.map_err(|error| format!("--sessions {place}: {error}"))?;
    Ok(Listener::Root(listener))
}

/// Removes a socket that an earlier popward-metrics has left.
fn remove_left(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = std::fs::remove_file(path);
    }
}
