//! Handshake threads: key exchange and signatures, away from the event loop. Started before the syscall filter.
//!
//! What waits for a thread is bounded by the connections that are open: each has at most one step in line, and one that
//! ends takes its step with it, so that who connects and goes away again and again leaves nothing behind. Steps of
//! handshakes that have begun and new ones take turns: neither kind can keep the other waiting.

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
pub(crate) enum Work {
    /// The `ClientHello` is here.
    Accept(Box<Accepted>),
    /// More has been read.
    Process(Box<ServerConnection>),
}

/// A step for a thread.
pub(crate) struct Job {
    /// Whose.
    pub(crate) handle: Handle,
    /// What.
    pub(crate) work: Work,
    /// The rules by which it is accepted.
    pub(crate) rules: Arc<Rules>,
}

/// A step that a thread has done.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whose.
    pub(crate) handle: Handle,
    /// The connection, or why there is none.
    pub(crate) result: Result<Box<ServerConnection>, Failure>,
    /// Who will see the client's certificate, if this was the first step and one is asked for.
    pub(crate) witness: Option<Arc<Witness>>,
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// The alert for the client.
    pub(crate) alert: Vec<u8>,
}

/// A step's place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    is_new: bool,
    number: u64,
}

/// What waits for a thread.
struct Line<T> {
    new: BTreeMap<u64, T>,
    begun: BTreeMap<u64, T>,
    number: u64,
    /// Whose turn it was last.
    was_new: bool,
    /// There will be no more.
    over: bool,
}

impl<T> Line<T> {
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

    fn add(&mut self, is_new: bool, job: T) -> Place {
        self.number += 1;
        let number = self.number;
        self.kind(is_new).insert(number, job);
        Place { is_new, number }
    }

    fn take(&mut self) -> Option<T> {
        self.was_new = !self.was_new;
        let (first, second) = (self.was_new, !self.was_new);
        let job = self.kind(first).pop_first();
        job.or_else(|| self.kind(second).pop_first())
            .map(|(_, job)| job)
    }

    fn remove(&mut self, place: Place) -> Option<T> {
        self.kind(place.is_new).remove(&place.number)
    }
}

struct Shared {
    line: Mutex<Line<Job>>,
    more: Condvar,
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line<Job>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step, waited for; `None` at the end. Meanwhile, ticket keys are forgotten when their time is over.
    fn next(&self, tickets: &Tickets) -> Option<Job> {
        let mut line = self.line();
        loop {
            if line.over {
                return None;
            }
            if let Some(job) = line.take() {
                return Some(job);
            }
            let now = Instant::now();
            line = match tickets.forget(now) {
                Some(until) => {
                    let wait = until.saturating_duration_since(now);
                    let woken = self.more.wait_timeout(line, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.more.wait(line).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The threads.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    done: Receiver<Done>,
}

impl Threads {
    /// Starts `count` threads that wake the event loop with `waker`. They end with this object.
    pub(crate) fn start(
        count: usize,
        waker: &Arc<Waker>,
        tickets: &Arc<Tickets>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            line: Mutex::new(Line::new()),
            more: Condvar::new(),
        });
        let (results, done) = channel();
        // What a thread calls while it starts, the filter that comes next does not permit.
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
    pub(crate) fn give(&self, job: Job) -> Place {
        let is_new = matches!(job.work, Work::Accept(_));
        let place = self.shared.line().add(is_new, job);
        self.shared.more.notify_one();
        place
    }

    /// Takes a step out of the line whose connection has ended, if no thread has it yet.
    pub(crate) fn cancel(&self, place: Place) {
        let job = self.shared.line().remove(place);
        // Not under the lock.
        drop(job);
    }

    /// Takes a step that is done.
    pub(crate) fn take(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.line().over = true;
        self.shared.more.notify_all();
    }
}

fn serve(shared: &Shared, tickets: &Tickets, results: &Sender<Done>, waker: &Waker) {
    while let Some(job) = shared.next(tickets) {
        let done = step(job);
        if results.send(done).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

fn step(job: Job) -> Done {
    let (tls, witness) = match job.work {
        Work::Accept(accepted) => {
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
        Work::Process(tls) => (Ok(tls), None),
    };
    Done {
        handle: job.handle,
        result: tls.and_then(process),
        witness,
    }
}

/// With `Accept`, it is what the client sent after its `ClientHello` in the same segment.
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
