//! Handshake threads. They do key exchange and signatures, so that these do not stop the event
//! loop. The threads start before the system call filter is installed.
//!
//! Each open connection has at most one step in line for a thread. A connection that ends takes its
//! step out of the line. So a client that connects and leaves again and again cannot fill the
//! memory.
//!
//! First steps of new handshakes and steps of begun ones take turns, so neither kind can delay the
//! other without bound.

use super::client_certificate::Witness;
use super::rules::Rules;
use super::tickets::Tickets;
use crate::handle::Handle;
use mio::Waker;
use rustls::server::Accepted;
use rustls::{Error, ServerConnection};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A step of a handshake.
pub(crate) enum HandshakeStep {
    /// The `ClientHello` has come.
    Accept(Box<Accepted>),
    /// More bytes have been read.
    Process(Box<ServerConnection>),
}

/// A step of a handshake, with what a thread needs for it.
pub(crate) struct HandshakeJob {
    /// The connection.
    pub(crate) handle: Handle,
    /// The step.
    pub(crate) step: HandshakeStep,
    /// The rules for a new handshake.
    pub(crate) rules: Arc<Rules>,
}

/// The result of a step.
#[derive(Debug)]
pub(crate) struct StepResult {
    /// The connection.
    pub(crate) handle: Handle,
    /// The TLS connection, or why the handshake failed.
    pub(crate) result: Result<Box<ServerConnection>, Failure>,
    /// The witness of the client's certificate. Only the first step has one, and only if a
    /// certificate is asked for.
    pub(crate) witness: Option<Arc<Witness>>,
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The reason.
    pub(crate) error: Error,
    /// The alert for the client.
    pub(crate) alert: Vec<u8>,
}

/// The place of a step in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuePlace {
    is_new: bool,
    number: u64,
}

/// The steps that wait for a thread.
struct StepQueue<T> {
    new: BTreeMap<u64, T>,
    begun: BTreeMap<u64, T>,
    number: u64,
    /// Whether the last step that was taken was a first one.
    was_new: bool,
    /// Whether the threads have to end.
    over: bool,
}

impl<T> StepQueue<T> {
    fn new() -> Self {
        Self {
            new: BTreeMap::new(),
            begun: BTreeMap::new(),
            number: 0,
            was_new: false,
            over: false,
        }
    }

    fn kind(&mut self, is_new: bool) -> &mut BTreeMap<u64, T> {
        if is_new {
            &mut self.new
        } else {
            &mut self.begun
        }
    }

    fn add(&mut self, is_new: bool, job: T) -> QueuePlace {
        self.number += 1;
        let number = self.number;
        self.kind(is_new).insert(number, job);
        QueuePlace { is_new, number }
    }

    fn take(&mut self) -> Option<T> {
        self.was_new = !self.was_new;
        let (first, second) = (self.was_new, !self.was_new);
        let job = self.kind(first).pop_first();
        job.or_else(|| self.kind(second).pop_first())
            .map(|(_, job)| job)
    }

    fn remove(&mut self, place: QueuePlace) -> Option<T> {
        self.kind(place.is_new).remove(&place.number)
    }
}

struct SharedQueue {
    queue: Mutex<StepQueue<HandshakeJob>>,
    more: Condvar,
}

impl SharedQueue {
    fn queue(&self) -> MutexGuard<'_, StepQueue<HandshakeJob>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next step. `None`: the thread has to end. While it waits, it forgets ticket
    /// keys whose time is over.
    fn next(&self, tickets: &Tickets) -> Option<HandshakeJob> {
        let mut queue = self.queue();
        loop {
            if queue.over {
                return None;
            }
            if let Some(job) = queue.take() {
                return Some(job);
            }
            let now = Instant::now();
            queue = match tickets.forget(now) {
                Some(until) => {
                    let wait = until.saturating_duration_since(now);
                    let woken = self.more.wait_timeout(queue, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .more
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The handshake threads.
pub(crate) struct Threads {
    shared: Arc<SharedQueue>,
    done: Receiver<StepResult>,
}

impl Threads {
    /// Starts `count` threads. They wake the event loop with `waker` for each result, and end when
    /// this object is dropped.
    pub(crate) fn start(
        count: usize,
        waker: &Arc<Waker>,
        tickets: &Arc<Tickets>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(SharedQueue {
            queue: Mutex::new(StepQueue::new()),
            more: Condvar::new(),
        });
        let (results, done) = channel();
        // Waits until all threads run. A thread that is still starting makes system calls that the
        // filter, which comes next, does not permit.
        let running = Arc::new(Barrier::new(count + 1));
        for _ in 0..count {
            let (shared, tickets) = (Arc::clone(&shared), Arc::clone(tickets));
            let (results, waker) = (results.clone(), Arc::clone(waker));
            let started = Arc::clone(&running);
            std::thread::Builder::new()
                .name("handshake".to_owned())
                .spawn(move || {
                    started.wait();
                    serve(&shared, &tickets, &results, &waker);
                })?;
        }
        running.wait();
        Ok(Self { shared, done })
    }

    /// Puts a step in line.
    pub(crate) fn give(&self, job: HandshakeJob) -> QueuePlace {
        let is_new = matches!(job.step, HandshakeStep::Accept(_));
        let place = self.shared.queue().add(is_new, job);
        self.shared.more.notify_one();
        place
    }

    /// Takes the step of an ended connection out of the line, if no thread has taken it yet.
    pub(crate) fn cancel(&self, place: QueuePlace) {
        let job = self.shared.queue().remove(place);
        // The job is dropped after the lock is released, so that the threads do not wait for this.
        drop(job);
    }

    /// Takes a result, if there is one.
    pub(crate) fn take(&self) -> Option<StepResult> {
        self.done.try_recv().ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.queue().over = true;
        self.shared.more.notify_all();
    }
}

fn serve(shared: &SharedQueue, tickets: &Tickets, results: &Sender<StepResult>, waker: &Waker) {
    while let Some(job) = shared.next(tickets) {
        let done = step(job);
        if results.send(done).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

fn step(job: HandshakeJob) -> StepResult {
    let (tls, witness) = match job.step {
        HandshakeStep::Accept(accepted) => {
            let (config, witness) = job.rules.begin(&accepted.client_hello());
            let tls = accepted.into_connection(config).map(Box::new);
            let failed = |(error, mut alert): (Error, rustls::server::AcceptedAlert)| {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                let alert = bytes;
                Failure { error, alert }
            };
            (tls.map_err(failed), witness)
        }
        HandshakeStep::Process(tls) => (Ok(tls), None),
    };
    StepResult {
        handle: job.handle,
        result: tls.and_then(process),
        witness,
    }
}

/// Processes the bytes that have been read. After `Accept` these are the bytes that came together
/// with the `ClientHello`.
fn process(mut tls: Box<ServerConnection>) -> Result<Box<ServerConnection>, Failure> {
    match tls.process_new_packets() {
        Ok(_) => Ok(tls),
        Err(error) => {
            let mut alert = Vec::new();
            while tls.wants_write() && tls.write_tls(&mut alert).is_ok() {}
            Err(Failure { error, alert })
        }
    }
}

#[cfg(test)]
mod tests;
