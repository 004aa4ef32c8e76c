//! popward-adopt: gives the messages of one spool the UIDLs that another server gave them, and
//! ends.
//!
//! Sessions starts it before a user's first session, if `adopt.from` is configured. It runs as
//! the mailbox's owner, under the same locks and the same confinement as a worker. It reads the
//! spool once and writes the user's file of pins. It changes nothing else.

#![forbid(unsafe_code)]

use popward_mbox::assignment;
use popward_mbox::header::Hidden;
use popward_mbox::message::Maildrop;
use popward_mbox::pins::Pins;
use popward_mbox::scan::{ScanError, scan_on};
use popward_proto::log::Level;
use popward_proto::session::{OpenFailure, WorkerToFront};
use popward_proto::sessions_worker::{Job, NO_SPOOL, NOT_OPENED};
use popward_sys::log::Field;
use popward_update::error::OpenError;
use popward_update::pins_file;
use popward_update::session_log::SessionLog;
use popward_update::start::{self, Ends};
use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

/// Bytes of the spool that are read at once.
const BUFFER: usize = 1 << 20;

fn main() -> ExitCode {
    let Some((job, ends, log)) = start::job() else {
        return ExitCode::FAILURE;
    };
    let failure = match adopt(&job, &ends, &log) {
        Ok(Some((pinned, native))) => {
            let counts: [Field<'_>; 2] = [("messages", &pinned), ("native", &native)];
            log.write(Level::Notice, "adopted", &counts);
            return ExitCode::SUCCESS;
        }
        Ok(None) => {
            log.write(Level::Info, "no spool to adopt", &[]);
            return NO_SPOOL.into();
        }
        Err(failure) => failure,
    };
    log.failed(Level::Warning, "maildrop not adopted", &failure);
    // The front may have gone.
    let _ = ends.front.send(&WorkerToFront::NotOpened(failure.answer()));
    match failure {
        Failure::Open(OpenError::Confine(_)) => ExitCode::FAILURE,
        _ => NOT_OPENED.into(),
    }
}

/// Why nothing was pinned.
#[derive(Debug)]
enum Failure {
    Open(OpenError),
    NoState,
    /// The pins that exist already cannot be read.
    Unreadable(io::Error),
    /// The new pins cannot be written, because of a full disk or a quota for example.
    NotWritten(io::Error),
}

impl Failure {
    fn answer(&self) -> OpenFailure {
        match self {
            Self::Open(error) => error.answer(),
            // The file could be read, and its content is wrong.
            Self::Unreadable(error) if error.raw_os_error().is_none() => OpenFailure::Permanent,
            _ => OpenFailure::Temporary,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(out),
            Self::NoState => out.write_str("no state directory for the pins"),
            Self::Unreadable(error) => write!(out, "state directory or pins not read: {error}"),
            Self::NotWritten(error) => write!(out, "pins not written: {error}"),
        }
    }
}

/// Pins the UIDLs of all messages. Returns how many messages have another UIDL than popward's own,
/// and how many have popward's own.
/// `None`: there is no spool. It may come back with the old server's mail, so nothing is adopted
/// yet.
fn adopt(job: &Job, ends: &Ends, log: &SessionLog) -> Result<Option<(usize, usize)>, Failure> {
    let started = start::start(job, ends, log).map_err(Failure::Open)?;
    let state = started.state.ok_or(Failure::NoState)?;
    let Some(mut spool) = started.spool else {
        return Ok(None);
    };
    let (mut pins, _) = pins_file::load(&state).map_err(Failure::Unreadable)?;
    let scan = |error| Failure::Open(OpenError::Scan(error));
    let identity = spool.identity();
    let length = identity
        .map_err(|error| scan(ScanError::Source(error.into())))?
        .length;
    let mut buffer = vec![0; BUFFER];
    let (hide, mut maildrop) = (Hidden::default(), Maildrop::default());
    scan_on(&mut spool, length, &mut buffer, hide, &mut maildrop).map_err(scan)?;
    let schemes = job.adopt.as_slice();
    popward_schemes::name_messages(&mut spool, &mut maildrop, schemes, &mut buffer)
        .map_err(scan)?;
    let unnamed = vec![false; maildrop.messages.len()];
    assignment::assign(&mut maildrop, &unnamed, &mut pins);
    let pinned = pin_all(&maildrop, &mut pins);
    pins_file::replace(&state, &pins).map_err(Failure::NotWritten)?;
    let shown = maildrop.messages.len() - usize::from(maildrop.is_hidden(0));
    Ok(Some((pinned, shown - pinned)))
}

/// Pins every UIDL that popward would not give by itself. Returns how many messages have such a
/// UIDL.
fn pin_all(maildrop: &Maildrop, pins: &mut Pins) -> usize {
    let first = usize::from(maildrop.is_hidden(0));
    let messages = &maildrop.messages[first..];
    let (mut seen, mut to_pin) = (BTreeSet::new(), BTreeSet::new());
    for message in messages {
        if !seen.insert(message.digest) || message.name.is_some() {
            to_pin.insert(message.digest);
        }
    }
    assignment::pin(pins, to_pin, messages.iter());
    messages.iter().filter(|m| m.name.is_some()).count()
}
