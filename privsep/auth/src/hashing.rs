//! Threads that read the password file and hash: what takes 25 ms for one user must not keep the others waiting.

use crate::check::{self, Claim, ScramExchange};
use crate::login::LoginId;
use crate::verdict::Verdict;
use nix::sys::eventfd::{EfdFlags, EventFd};
use popward_proto::auth::{Credentials, ScramProof};
use popward_proto::bounded::AbsolutePath;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Most threads.
const THREADS_MAX: usize = 8;

/// Checks that may wait for a thread. One beyond is answered as temporary.
const WAITING_MAX: usize = 1024;

/// What is to be found out.
pub(crate) enum HashingTask {
    /// Whether what is shown is this user's.
    Check(AbsolutePath, Claim, Credentials),
    /// Whether a proof is right.
    Prove(Box<ScramExchange>, ScramProof),
    /// The account of somebody who has shown to be this user.
    Account(AbsolutePath, Claim),
    /// The system's account of such a one.
    SystemAccount(Claim),
}

/// The threads.
pub(crate) struct HashingThreads {
    jobs: SyncSender<(LoginId, HashingTask)>,
    verdicts: Receiver<(LoginId, Verdict)>,
    wake: Arc<EventFd>,
}

impl HashingThreads {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        let (jobs, waiting) = sync_channel(WAITING_MAX);
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
                .spawn(move || work(&waiting, &done, &wake, &key))?;
        }
        Ok(Self {
            jobs,
            verdicts,
            wake,
        })
    }

    /// Gives work to the threads. False if too much waits.
    pub(crate) fn submit(&self, login_id: LoginId, work: HashingTask) -> bool {
        self.jobs.try_send((login_id, work)).is_ok()
    }

    /// Readable when there are verdicts.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What has been found.
    pub(crate) fn verdicts(&self) -> Vec<(LoginId, Verdict)> {
        // Nothing to read where it was read before: the verdicts are what counts.
        let _ = self.wake.read();
        self.verdicts.try_iter().collect()
    }
}

fn work(
    waiting: &Mutex<Receiver<(LoginId, HashingTask)>>,
    done: &Sender<(LoginId, Verdict)>,
    wake: &EventFd,
    key: &[u8; 32],
) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((login_id, work)) = next else {
            return;
        };
        let verdict = match work {
            HashingTask::Check(path, claim, shown) => {
                check::check(path.as_path(), claim, &shown, key)
            }
            HashingTask::Prove(exchange, proof) => exchange.prove(&proof),
            HashingTask::Account(path, claim) => check::account(path.as_path(), &claim),
            HashingTask::SystemAccount(claim) => Verdict::granted_by_system(claim.user.as_str()),
        };
        if done.send((login_id, verdict)).is_err() {
            return;
        }
        // It can only fail where 2^64 - 2 wakes have not been taken.
        let _ = wake.write(1);
    }
}
