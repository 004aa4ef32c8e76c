//! popward-worker: one session with one spool. It locks, reads, serves and updates the spool, and
//! does nothing else.
//!
//! It runs as the mailbox's owner from its first instruction. If the dotlock takes the spool
//! directory's group, that is the worker's effective group until the locks are taken. The worker
//! may touch the spool, its dotlock, and the owner's state directory.

#![forbid(unsafe_code)]

mod index;
mod naming;
mod outgoing;
mod session;
mod transport;

use index::How;
use naming::Naming;
use popward_mbox::message::Maildrop;
use popward_mbox::scan::ScanError;
use popward_proto::monitor_worker::{Job, NOT_FINISHED, NOT_OPENED, Task};
use popward_proto::session::{Broken, OpenFailure, Update, WorkerPhase, WorkerToFront};
use popward_sys::log::Log;
use popward_update::error::UpdateError;
use popward_update::start::{self, Ends, StartError, Started};
use session::Session;
use std::process::ExitCode;
use std::time::Instant;
use transport::{Stop, answer};

fn main() -> ExitCode {
    let Some((job, mut ends, log)) = start::job() else {
        return ExitCode::FAILURE;
    };
    let failure = match open(&job, &ends, &log) {
        Ok(Some(opened)) => return serve(&job, &mut ends, &log, opened),
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    log.warning(
        Some(job.session),
        "maildrop not opened",
        &[("user", &job.user), ("error", &failure)],
    );
    // The front may have gone.
    let _ = answer(&ends, None, &WorkerToFront::NotOpened(failure.answer()));
    match failure {
        // No worker can finish this update: the spool is not the one that the update was made for.
        Failure::Start(StartError::Recovery(UpdateError::Changed(_))) => NOT_OPENED.into(),
        Failure::Start(StartError::Recovery(_)) => NOT_FINISHED.into(),
        Failure::Start(StartError::Confine(_)) => ExitCode::FAILURE,
        _ if job.task == Task::Serve => NOT_OPENED.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Why there is no session.
#[derive(Debug)]
enum Failure {
    Start(StartError),
    Scan(ScanError<std::io::Error>),
    Naming(std::io::Error),
}

impl Failure {
    fn answer(&self) -> OpenFailure {
        match self {
            Self::Start(error) => error.answer(),
            Self::Scan(
                ScanError::NotMbox | ScanError::BareReturns | ScanError::TooManyMessages,
            ) => OpenFailure::Permanent,
            // The file could be read, and its content is wrong.
            Self::Naming(error) if error.raw_os_error().is_none() => OpenFailure::Permanent,
            _ => OpenFailure::Temporary,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(error) => error.fmt(out),
            Self::Scan(error) => error.fmt(out),
            Self::Naming(error) => error.fmt(out),
        }
    }
}

/// A session, and whether its spool was read. If it was, the index must be written.
struct Opened(Session, bool);

/// Opens the maildrop. `None`: the task was only to finish an update.
fn open(job: &Job, ends: &Ends, log: &Log) -> Result<Option<Opened>, Failure> {
    let started = start::start(job, ends, log).map_err(Failure::Start)?;
    if job.task != Task::Serve {
        return Ok(None);
    }
    let Started {
        spool,
        state,
        waited,
    } = started;
    let Some(mut spool) = spool else {
        let naming = Naming::new(job, None).map_err(Failure::Naming)?;
        let empty = Session::new(None, None, Maildrop::default(), None, 0, naming);
        return Ok(Some(Opened(empty, false)));
    };
    if state.is_none() && !job.adopt.as_slice().is_empty() {
        let why = "the spool came after popward-adopt had looked for it";
        return Err(Failure::Start(StartError::System(why)));
    }
    let reading = Instant::now();
    let mut naming = Naming::new(job, state.as_ref()).map_err(Failure::Naming)?;
    let found = index::open(&mut spool, state.as_ref(), &mut naming).map_err(Failure::Scan)?;
    if let Some(error) = &found.unpinned {
        let fields: &[(&str, &dyn std::fmt::Display)] = &[("user", &job.user), ("error", error)];
        log.warning(Some(job.session), "UIDLs not pinned", fields);
    }
    let index::Found {
        maildrop,
        seen,
        read_from,
        how,
        ..
    } = found;
    log.info(
        Some(job.session),
        "opened",
        &[
            ("user", &job.user),
            ("messages", &maildrop.messages.len()),
            ("bytes", &maildrop.length),
            ("lock_ms", &waited.as_millis()),
            ("how", &how),
            ("read_ms", &reading.elapsed().as_millis()),
        ],
    );
    let session = Session::new(Some(spool), state, maildrop, Some(seen), read_from, naming);
    Ok(Some(Opened(session, how != How::Unchanged)))
}

fn serve(job: &Job, ends: &mut Ends, log: &Log, opened: Opened) -> ExitCode {
    ends.front.enter(WorkerPhase::Transaction);
    let id = Some(job.session);
    let Opened(mut session, read) = opened;
    let kept = |result: std::io::Result<()>| {
        if let Err(error) = result {
            let fields: &[(&str, &dyn std::fmt::Display)] =
                &[("user", &job.user), ("error", &error)];
            log.warning(id, "index or reserve not written", fields);
        }
    };
    let result = answer(ends, None, &WorkerToFront::Opened(session.totals())).and_then(|()| {
        // This happens after the answer, so that the client does not wait for it.
        kept(session.keep(read));
        session.serve(ends)
    });
    let fields = |error| {
        [
            ("user", &job.user as &dyn std::fmt::Display),
            ("error", error),
        ]
    };
    let failure = match result {
        Ok(Ok(done)) => {
            log_update(job, log, done.update);
            kept(done.put_away);
            return ExitCode::SUCCESS;
        }
        // The monitor has another worker finish the update, and tells the front of the result.
        Ok(Err(UpdateError::Unfinished(error))) => {
            log.error(id, "update broken off", &fields(&error));
            return ExitCode::FAILURE;
        }
        Ok(Err(error)) => {
            log.error(id, "update failed", &fields(&error));
            if matches!(error, UpdateError::Changed(_)) {
                session.distrust();
            }
            WorkerToFront::NotCommitted(match error {
                UpdateError::Changed(_) => Broken::SpoolChanged,
                UpdateError::LockLost => Broken::LockLost,
                _ => Broken::System,
            })
        }
        Err(Stop::Broken(broken)) => {
            if broken == Broken::SpoolChanged {
                session.distrust();
            }
            let why = format!("{broken:?}");
            log.error(
                id,
                "session broken off, nothing deleted",
                &[("user", &job.user), ("why", &why)],
            );
            WorkerToFront::Broken(broken)
        }
        Err(Stop::Rules(error)) => {
            log.error(id, "the front broke the rules", &[("error", &error)]);
            return ExitCode::FAILURE;
        }
        Err(Stop::FrontGone | Stop::MonitorGone) => return ExitCode::SUCCESS,
    };
    // The front may have gone.
    let _ = answer(ends, None, &failure);
    ExitCode::SUCCESS
}

fn log_update(job: &Job, log: &Log, update: Update) {
    if update.deleted.messages > 0 {
        log.info(
            Some(job.session),
            "updated",
            &[
                ("user", &job.user),
                ("deleted", &update.deleted.messages),
                ("left", &update.left.messages),
            ],
        );
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
