//! Threads that read the password file and compute hashes.
//!
//! One hash can take 25 ms. Without threads, every other login would wait for it.

use crate::account::{Claim, of_system};
use crate::check;
use crate::login::LoginId;
use crate::scram_exchange::ScramExchange;
use crate::verdict::Verdict;
use nix::sys::eventfd::{EfdFlags, EventFd};
use popward_proto::auth::{Credentials, ScramProof};
use popward_proto::bounded::AbsolutePath;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

/// Most threads. On a host with fewer processors there is one for each.
const THREADS_MAX: usize = 8;

/// Most tasks that wait for a thread. A login beyond gets a temporary failure.
const WAITING_MAX: usize = 1024;

/// A task for a thread.
pub(crate) enum HashingTask {
    /// Check credentials against the password file at this path.
    Check(AbsolutePath, Claim, Credentials),
    /// Check a SCRAM proof.
    Prove(Box<ScramExchange>, ScramProof),
    /// Look up the account of an identified user in the password file at this path.
    Account(AbsolutePath, Claim),
    /// Look up the account of an identified user in NSS.
    SystemAccount(Claim),
}

/// A login, what to do for it, and the key at that time.
type Waiting = (LoginId, HashingTask, StandInKey);

/// The key that decides what a name without a password looks like. An auth that takes over gets it
/// from the one before, because a name that looks different after a reload would be no user's (P9).
pub(crate) type StandInKey = [u8; 32];

/// Where threads take tasks, and where they send verdicts.
type ThreadEnds = (Receiver<Waiting>, Sender<(LoginId, Verdict)>);

/// The threads, as the main thread sees them.
pub(crate) struct HashingThreads {
    /// The key for the tasks from now on.
    pub(crate) key: StandInKey,
    tasks: SyncSender<Waiting>,
    verdicts: Receiver<(LoginId, Verdict)>,
    wake: Arc<EventFd>,
    /// How many threads there are or will be.
    count: usize,
    /// What the threads share, until they are started.
    ends: Option<ThreadEnds>,
}

impl HashingThreads {
    /// Prepares the threads. An error means that an eventfd or random bytes were refused.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        let (tasks, waiting) = sync_channel(WAITING_MAX);
        let (done, verdicts) = channel();
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            key,
            tasks,
            verdicts,
            wake,
            count: processors.min(THREADS_MAX),
            ends: Some((waiting, done)),
        })
    }

    /// Starts the threads, and waits until all of them run. An error means that a thread was
    /// refused. The second call does nothing.
    pub(crate) fn begin(&mut self) -> std::io::Result<()> {
        let Some((waiting, done)) = self.ends.take() else {
            return Ok(());
        };
        let waiting = Arc::new(Mutex::new(waiting));
        let running = Arc::new(Barrier::new(self.count + 1));
        for _ in 0..self.count {
            let (waiting, done) = (Arc::clone(&waiting), done.clone());
            let (wake, running) = (Arc::clone(&self.wake), Arc::clone(&running));
            std::thread::Builder::new()
                .name("hashing".to_owned())
                .spawn(move || {
                    running.wait();
                    run(&waiting, &done, &wake);
                })?;
        }
        running.wait();
        Ok(())
    }

    /// Queues a task. Returns false if [`WAITING_MAX`] tasks wait already.
    pub(crate) fn submit(&self, login_id: LoginId, task: HashingTask) -> bool {
        self.tasks.try_send((login_id, task, self.key)).is_ok()
    }

    /// A descriptor that is readable while verdicts wait.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes the verdicts that wait.
    pub(crate) fn verdicts(&self) -> Vec<(LoginId, Verdict)> {
        // The read fails if an earlier call has read the counter. Only the verdicts matter.
        let _ = self.wake.read();
        self.verdicts.try_iter().collect()
    }
}

/// Runs one thread: it takes a task, does it, and sends the verdict.
fn run(waiting: &Mutex<Receiver<Waiting>>, done: &Sender<(LoginId, Verdict)>, wake: &EventFd) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((login_id, task, key)) = next else {
            return;
        };
        let verdict = match task {
            HashingTask::Check(path, claim, shown) => {
                check::check(path.as_path(), claim, &shown, &key)
            }
            HashingTask::Prove(exchange, proof) => exchange.prove(&proof).into(),
            HashingTask::Account(path, claim) => check::account(path.as_path(), &claim),
            HashingTask::SystemAccount(claim) => of_system(&claim.user).into(),
        };
        if done.send((login_id, verdict)).is_err() {
            return;
        }
        // A write fails only after 2^64 - 2 writes that nobody has read.
        let _ = wake.write(1);
    }
}
