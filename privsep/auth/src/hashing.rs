//! Threads that read the password file and hash: what takes 25 ms for one user must not keep the others waiting.

use crate::passwd_file;
use crate::verdict::Verdict;
use nix::sys::eventfd::{EfdFlags, EventFd};
use popward_proto::account::SessionId;
use popward_proto::bounded::{AbsolutePath, UserName};
use popward_proto::secret::Secret;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Most threads.
const THREADS_MAX: usize = 8;

/// Checks that may wait for a thread. One beyond is answered as temporary.
const WAITING_MAX: usize = 1024;

/// A check to be made.
pub(crate) struct Job {
    /// The session that asked.
    pub(crate) session: SessionId,
    /// The password file.
    pub(crate) path: AbsolutePath,
    /// The name, as the client sent it.
    pub(crate) user: UserName,
    /// The password.
    pub(crate) secret: Secret,
}

/// The threads.
pub(crate) struct Hashing {
    jobs: SyncSender<Job>,
    verdicts: Receiver<(SessionId, Verdict)>,
    wake: Arc<EventFd>,
}

impl Hashing {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let (done, verdicts) = channel();
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..threads.min(THREADS_MAX) {
            let (waiting, done, wake) = (Arc::clone(&waiting), done.clone(), Arc::clone(&wake));
            std::thread::Builder::new()
                .name("hashing".to_owned())
                .spawn(move || work(&waiting, &done, &wake))?;
        }
        Ok(Self {
            jobs,
            verdicts,
            wake,
        })
    }

    /// Gives a job to the threads. False if too many wait.
    pub(crate) fn submit(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Readable when there are verdicts.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What has been found.
    pub(crate) fn verdicts(&self) -> Vec<(SessionId, Verdict)> {
        // Nothing to read where it was read before: the verdicts are what counts.
        let _ = self.wake.read();
        self.verdicts.try_iter().collect()
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, done: &Sender<(SessionId, Verdict)>, wake: &EventFd) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = next else {
            return;
        };
        let verdict = passwd_file::check(job.path.as_path(), &job.user, job.secret.expose());
        if done.send((job.session, verdict)).is_err() {
            return;
        }
        // It can only fail where 2^64 - 2 wakes have not been taken.
        let _ = wake.write(1);
    }
}
