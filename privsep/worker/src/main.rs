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

use naming::Naming;
use popward_mbox::scan::ScanError;
use popward_proto::log::Level;
use popward_proto::session::WorkerToFront;
use popward_proto::sessions_worker::{Job, NOT_FINISHED, NOT_OPENED, Task};
use popward_update::error::{OpenError, UpdateError};
use popward_update::session_log::SessionLog;
use popward_update::start::{self, Ends};
use session::{Opened, Session};
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Instant;
use transport::Stop;

fn main() -> ExitCode {
    let Some((job, ends, log)) = start::job() else {
        return ExitCode::FAILURE;
    };
    let failure = match open(&job, &ends, &log) {
        Ok(Some(opened)) => return serve(&log, Session::new(ends, opened)),
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    match job.task {
        Task::Free { .. } => log.failed(Level::Error, "dotlock not removed", &failure),
        _ => log.failed(Level::Warning, "maildrop not opened", &failure),
    }
    // The front may have gone.
    let _ = ends.front.send(&WorkerToFront::NotOpened(failure.answer()));
    match failure {
        // No worker can finish this update: the spool is not the one that the update was made for.
        OpenError::Recovery(UpdateError::Changed(_)) => NOT_OPENED.into(),
        OpenError::Recovery(_) => NOT_FINISHED.into(),
        OpenError::Confine(_) => ExitCode::FAILURE,
        _ if matches!(job.task, Task::Serve | Task::Free { .. }) => NOT_OPENED.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Opens the maildrop. `None`: the task was something else, and is done.
fn open(job: &Job, ends: &Ends, log: &SessionLog) -> Result<Option<Opened>, OpenError> {
    let mut started = start::start(job, ends, log)?;
    if job.task != Task::Serve {
        return Ok(None);
    }
    let (spool, state) = (&mut started.spool, started.state.as_ref());
    if spool.is_some() && state.is_none() && !job.adopt.as_slice().is_empty() {
        let why = "the spool came after popward-adopt had looked for it";
        let changed = UpdateError::Changed(why);
        return Err(OpenError::Scan(ScanError::Source(changed)));
    }
    let reading = Instant::now();
    let mut naming = Naming::new(job, state).map_err(OpenError::Naming)?;
    let mut found = None;
    if let Some(spool) = spool {
        let is_over = || ends.gone();
        let opened = index::open(spool, state, &mut naming, &is_over);
        let opened = opened.map_err(OpenError::Scan)?;
        if let Some(error) = &opened.unpinned {
            log.failed(Level::Warning, "UIDLs not pinned", error);
        }
        log.write(
            Level::Info,
            "opened",
            &[
                ("messages", &opened.maildrop.messages.len()),
                ("bytes", &opened.maildrop.length),
                ("lock_ms", &started.waited.as_millis()),
                ("how", &format!("{:?}", opened.how).to_lowercase()),
                ("read_ms", &reading.elapsed().as_millis()),
            ],
        );
        found = Some(opened);
    }
    Ok(Some(Opened {
        started,
        naming,
        found,
    }))
}

fn serve(log: &SessionLog, mut session: Session) -> ExitCode {
    let kept = |result: Result<(), UpdateError>| {
        if let Err(error) = result {
            log.failed(Level::Warning, "index or reserve not written", &error);
        }
    };
    let opened = session.open();
    // This happens after the answer, so that the client does not wait for it. It happens even if the
    // client has gone, so that the next session need not read the spool.
    kept(session.keep_opened().map_err(UpdateError::System));
    let result = opened.and_then(|()| session.serve());
    let failed = |what, error: &dyn Display| log.failed(Level::Error, what, error);
    let answer = match result {
        Ok(done) => {
            let (deleted, left) = (done.update.deleted.messages, done.update.left.messages);
            if deleted > 0 {
                log.write(
                    Level::Info,
                    "updated",
                    &[("deleted", &deleted), ("left", &left)],
                );
            }
            kept(done.put_away);
            return ExitCode::SUCCESS;
        }
        // Sessions has another worker finish the update, and tells the front of the result.
        Err(Stop::NotUpdated(UpdateError::Unfinished(error))) => {
            failed("update broken off", &error);
            return ExitCode::FAILURE;
        }
        Err(Stop::NotUpdated(error)) => {
            failed("update failed", &error);
            WorkerToFront::NotCommitted(session.broken(&error))
        }
        Err(Stop::Broken(error)) => {
            failed("session broken off, nothing deleted", &error);
            WorkerToFront::Broken(session.broken(&error))
        }
        Err(Stop::Rules(error)) => {
            failed("the front broke the rules", &error);
            return ExitCode::FAILURE;
        }
        Err(Stop::FrontGone | Stop::MonitorGone) => return ExitCode::SUCCESS,
    };
    session.end(&answer);
    ExitCode::SUCCESS
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
