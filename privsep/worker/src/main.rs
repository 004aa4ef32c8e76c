//! popward-worker: one session with one spool. It locks, reads, serves and updates it, and nothing else.
//!
//! Runs as the mailbox's owner from its first instruction; until its locks are taken, with the spool directory's group
//! as effective group where dotlocks need it. It may touch the spool, its dotlock, and the owner's state directory.

#![forbid(unsafe_code)]

mod index;
mod journal;
mod locks;
mod naming;
mod outgoing;
mod read;
mod serve;
mod state;
mod syscalls;
mod update;

use index::How;
use locks::{LockError, LockedSpool};
use naming::Naming;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_mbox::message::Maildrop;
use popward_mbox::scan::ScanError;
use popward_proto::monitor_worker::{
    Job, JobPhase, MonitorToWorker, NOT_FINISHED, NOT_OPENED, Task, WorkerToMonitor,
};
use popward_proto::session::{Broken, OpenFailure, Update, WorkerPhase, WorkerToFront};
use popward_sys::channel::{Channel, Packet, PacketBuffer};
use popward_sys::confine::{self, Identity, NotConfined};
use popward_sys::log::Log;
use popward_sys::{inherited, landlock, seccomp};
use serve::{Ends, Session, Stop, ToMonitor};
use state::State;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use update::UpdateError;

fn main() -> ExitCode {
    let Ok([control, log, session]) = inherited::take::<3>() else {
        return ExitCode::FAILURE;
    };
    let Ok(log) = Log::new(log) else {
        return ExitCode::FAILURE;
    };
    let mut monitor: ToMonitor = Channel::new(control, JobPhase::Given);
    let job = match monitor.receive(&mut PacketBuffer::for_messages()) {
        Ok(Packet::Message(MonitorToWorker::Job(job), _))
            if job.version == popward_proto::VERSION =>
        {
            job
        }
        _ => return ExitCode::FAILURE,
    };
    monitor.enter(JobPhase::Working);
    let front = Channel::new(session, WorkerPhase::Opening);
    if front.set_nonblocking().is_err() {
        return ExitCode::FAILURE;
    }
    let mut ends = Ends { front, monitor };
    let failure = match open_session(&job, &ends, &log) {
        Ok(Some(opened)) => return serve(&job, &mut ends, &log, opened),
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    log.warning(
        Some(job.session),
        "maildrop not opened",
        &[("user", &job.user), ("error", &failure)],
    );
    // The front may have gone meanwhile.
    let _ = ends.answer(None, &WorkerToFront::NotOpened(failure.answer()));
    match failure {
        // Nobody can finish it: the spool is not what it was made for.
        Failure::Recovery(UpdateError::Changed(_)) => NOT_OPENED.into(),
        Failure::Recovery(_) => NOT_FINISHED.into(),
        Failure::Confine(_) => ExitCode::FAILURE,
        _ if job.task == Task::Serve => NOT_OPENED.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Why there is no session.
#[derive(Debug)]
enum Failure {
    Confine(String),
    Lock(LockError),
    Gone,
    Scan(ScanError<std::io::Error>),
    Recovery(UpdateError),
    Naming(std::io::Error),
    System(&'static str),
}

impl Failure {
    fn answer(&self) -> OpenFailure {
        match self {
            Self::Lock(LockError::Busy(_)) => OpenFailure::InUse,
            Self::Lock(LockError::Unfit(_))
            | Self::Scan(
                ScanError::NotMbox | ScanError::BareReturns | ScanError::TooManyMessages,
            )
            | Self::Recovery(UpdateError::Changed(_)) => OpenFailure::Permanent,
            // Not a failing disk's: what stands in the file is wrong.
            Self::Naming(error) if error.raw_os_error().is_none() => OpenFailure::Permanent,
            _ => OpenFailure::Temporary,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Confine(error) => out.write_str(error),
            Self::Lock(error) => error.fmt(out),
            Self::Gone => out.write_str("the client has gone"),
            Self::Scan(error) => error.fmt(out),
            Self::Recovery(error) => {
                write!(out, "an unfinished update: {error}; its journal is kept")
            }
            Self::Naming(error) => error.fmt(out),
            Self::System(what) => out.write_str(what),
        }
    }
}

/// A session, and whether its spool was read: then there is an index to be written.
struct Opened(Session, bool);

/// Locks, confines itself, finishes what a crash left, reads. `None`: there was nothing else to do.
fn open_session(job: &Job, ends: &Ends, log: &Log) -> Result<Option<Opened>, Failure> {
    let confine = |error: NotConfined| Failure::Confine(error.to_string());
    confine::harden(32).map_err(confine)?;
    let identity = Identity {
        uid: job.uid,
        gid: job.gid,
    };
    if job.uid == 0 || Identity::current() != Some(identity.clone()) {
        return Err(Failure::Confine("not run as the account".to_owned()));
    }
    let directory_flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(
        job.spool_directory.as_path(),
        directory_flags,
        Mode::empty(),
    )
    .map_err(|_| Failure::System("the spool's directory cannot be opened"))?;
    let started = Instant::now();
    let locked = lock(job, &directory, ends)?;
    let waited = started.elapsed();

    // The directory's group goes before the spool's first byte is read. It is the effective one, and by the exec the
    // saved one: with all three the user's there is no way back.
    let gid = nix::unistd::Gid::from_raw(job.gid);
    nix::unistd::setresgid(gid, gid, gid).map_err(|_| Failure::System("setresgid"))?;
    confine::drop_capabilities(&[]).map_err(confine)?;
    confine::prove(&identity, job.groups.as_slice(), &[]).map_err(confine)?;
    let reach: Option<OwnedFd> = job.state_directory.as_ref().and_then(|path| {
        open(
            path.as_path(),
            directory_flags | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )
        .ok()
    });
    let reachable: Vec<_> = reach.iter().map(AsFd::as_fd).collect();
    landlock::restrict_to(&reachable, &[]).map_err(|error| Failure::Confine(error.to_string()))?;
    seccomp::install(&[seccomp::RUNTIME, syscalls::TABLE])
        .map_err(|error| Failure::Confine(error.to_string()))?;

    let state = job.state_directory.as_ref();
    let state = state.map(|path| State::new(path.as_path()));
    let Some(mut spool) = locked else {
        if job.task != Task::Serve {
            return Ok(None);
        }
        let naming = Naming::new(job, None).map_err(Failure::Naming)?;
        let none = Session::new(None, None, Maildrop::default(), None, 0, naming);
        return Ok(Some(Opened(none, false)));
    };
    if let Some(state) = &state {
        // Without the monitor nobody would do it at once if this one died as well; the next opening would.
        let begins = || {
            let _ = ends.monitor.send(&WorkerToMonitor::Updates);
        };
        if update::recover(&mut spool, state, begins).map_err(Failure::Recovery)? {
            log.notice(
                Some(job.session),
                "finished an update that was broken off",
                &[("user", &job.user)],
            );
            // Should it not be heard, whoever waits for it is told that it failed.
            let _ = ends.monitor.send(&WorkerToMonitor::Finished);
        }
    }
    if job.task != Task::Serve {
        return Ok(None);
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

/// Tries until the time is up: all locks, or none and a pause of random length.
fn lock(job: &Job, directory: &OwnedFd, ends: &Ends) -> Result<Option<LockedSpool>, Failure> {
    let until = Instant::now() + Duration::from_millis(job.locks.timeout_ms.into());
    loop {
        let mut tell = |device, inode| {
            // Without the monitor there is nobody to remove the lock, and no session: the next wait sees its end.
            let _ = ends
                .monitor
                .send(&WorkerToMonitor::Dotlock { device, inode });
        };
        match locks::try_lock(job, directory, &mut tell) {
            Err(LockError::Busy(_)) if Instant::now() < until => {}
            result => return result.map_err(Failure::Lock),
        }
        std::thread::sleep(locks::pause());
        if ends.gone() {
            return Err(Failure::Gone);
        }
    }
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
    let result = ends
        .answer(None, &WorkerToFront::Opened(session.totals()))
        .and_then(|()| {
            // While the client thinks.
            kept(session.keep(read));
            session.serve(ends)
        });
    let fields = |error| {
        [
            ("user", &job.user as &dyn std::fmt::Display),
            ("error", error),
        ]
    };
    let answer = match result {
        Ok(Ok(done)) => {
            let answer = committed(job, log, done.update);
            // The front may have gone; what was done is done. It hears of it while the journal shows that it was.
            let _ = ends.answer(None, &answer);
            if done.changed {
                kept(session.keep_left(done.journal.as_ref()));
            }
            return ExitCode::SUCCESS;
        }
        // The monitor has somebody finish it, and tells the front how that went.
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
    // As above.
    let _ = ends.answer(None, &answer);
    ExitCode::SUCCESS
}

fn committed(job: &Job, log: &Log, update: Update) -> WorkerToFront {
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
    WorkerToFront::Committed(update)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
