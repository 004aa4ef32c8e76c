//! Threads that read the password file and hash: what takes 25 ms for one user must not keep the others waiting.

use crate::check::{self, Exchange, Whom};
use crate::login::Ticket;
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
pub(crate) enum Work {
    /// Whether what is shown is this user's.
    Check(AbsolutePath, Whom, Credentials),
    /// Whether a proof is right.
    Prove(Box<Exchange>, ScramProof),
    /// The account of somebody who has shown to be this user.
    Account(AbsolutePath, Whom),
    /// The system's account of such a one.
    SystemAccount(Whom),
}

/// The threads.
pub(crate) struct Hashing {
    jobs: SyncSender<(Ticket, Work)>,
    verdicts: Receiver<(Ticket, Verdict)>,
    wake: Arc<EventFd>,
}

impl Hashing {
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
    pub(crate) fn submit(&self, ticket: Ticket, work: Work) -> bool {
        self.jobs.try_send((ticket, work)).is_ok()
    }

    /// Readable when there are verdicts.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What has been found.
    pub(crate) fn verdicts(&self) -> Vec<(Ticket, Verdict)> {
        // Nothing to read where it was read before: the verdicts are what counts.
        let _ = self.wake.read();
        self.verdicts.try_iter().collect()
    }
}

fn work(
    waiting: &Mutex<Receiver<(Ticket, Work)>>,
    done: &Sender<(Ticket, Verdict)>,
    wake: &EventFd,
    key: &[u8; 32],
) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((ticket, work)) = next else {
            return;
        };
        let verdict = match work {
            Work::Check(path, whom, shown) => check::check(path.as_path(), whom, &shown, key),
            Work::Prove(exchange, proof) => exchange.prove(&proof),
            Work::Account(path, whom) => check::account(path.as_path(), &whom),
            Work::SystemAccount(whom) => Verdict::granted_by_system(whom.user.as_str()),
        };
        if done.send((ticket, verdict)).is_err() {
            return;
        }
        // It can only fail where 2^64 - 2 wakes have not been taken.
        let _ = wake.write(1);
    }
}
