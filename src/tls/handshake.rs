//! Handshake threads: key exchange and signatures, away from the event loop. Started before the syscall filter.

use crate::slots::Handle;
use mio::Waker;
use rustls::server::Accepted;
use rustls::{Error, ServerConfig, ServerConnection};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

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
    /// The configuration that it is accepted with.
    pub(crate) config: Arc<ServerConfig>,
}

/// A step that a thread has done.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whose.
    pub(crate) handle: Handle,
    /// The connection, or why there is none.
    pub(crate) result: Result<Box<ServerConnection>, Failure>,
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// The alert for the client.
    pub(crate) alert: Vec<u8>,
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Threads {
    jobs: Sender<Job>,
    done: Receiver<Done>,
}

impl Threads {
    /// Starts `count` threads that wake the event loop with `waker`. They end with this object.
    pub(crate) fn start(count: usize, waker: &Arc<Waker>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let (results, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        // What a thread calls while it starts, the filter that comes next does not permit.
        let running = Arc::new(Barrier::new(count + 1));
        for _ in 0..count {
            let (queue, results, waker) = (Arc::clone(&queue), results.clone(), Arc::clone(waker));
            let started = Arc::clone(&running);
            std::thread::Builder::new()
                .name("handshake".to_owned())
                .spawn(move || {
                    started.wait();
                    serve(&queue, &results, &waker);
                })?;
        }
        running.wait();
        Ok(Self { jobs, done })
    }

    /// Gives a step to whichever thread is free next. At most one of a connection is under way, so the number of
    /// connections bounds the queue.
    pub(crate) fn give(&self, job: Job) {
        // It fails when all threads have gone, which a panic alone can bring about: then logins time out.
        let _ = self.jobs.send(job);
    }

    /// Takes a step that is done.
    pub(crate) fn take(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

fn serve(queue: &Mutex<Receiver<Job>>, results: &Sender<Done>, waker: &Waker) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            handle,
            work,
            config,
        }) = job
        else {
            return;
        };
        let result = step(work, config);
        if results.send(Done { handle, result }).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

fn step(work: Work, config: Arc<ServerConfig>) -> Result<Box<ServerConnection>, Failure> {
    let mut tls = match work {
        Work::Accept(accepted) => match accepted.into_connection(config) {
            Ok(tls) => Box::new(tls),
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                let alert = bytes;
                return Err(Failure { error, alert });
            }
        },
        Work::Process(tls) => tls,
    };
    // With Accept, what the client sent after its ClientHello in the same segment.
    match tls.process_new_packets() {
        Ok(_) => Ok(tls),
        Err(error) => {
            let mut alert = Vec::new();
            while tls.wants_write() && tls.write_tls(&mut alert).is_ok() {}
            Err(Failure { error, alert })
        }
    }
}
