//! One worker's process and the other ends of its three sockets.

use super::{Desk, NAME, null};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::log::{NoMessage, Record};
use popward_proto::session::{
    ClientPhase, FrontToWorker, MessageNumber, OfOne, Request, WorkerToFront,
};
use popward_proto::sessions_worker::{
    Job, JobPhase, LockSettings, SessionsToWorker, Task, WorkerToSessions,
};
use popward_proto::setup_phase::SetupPhase;
use popward_sys::channel::{Channel, ChannelError, Packet, PacketBuffer, socket_pair};
use popward_sys::spawn::{Spawn, spawn};
use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The longest life of a worker, in milliseconds. It only ends a hang.
const PATIENCE_MS: u16 = 60_000;

/// A worker that this thread traces, stopped or running. It is killed and reaped when this is
/// dropped. If this thread ends in any other way, the kernel kills the worker.
pub struct Worker {
    pub pid: Pid,
    monitor: Channel<SessionsToWorker, WorkerToSessions>,
    log: Channel<NoMessage, Record>,
    front: Channel<FrontToWorker, WorkerToFront>,
    buffer: PacketBuffer,
    ended: Option<WaitStatus>,
}

/// What a worker showed that has ended.
#[derive(Debug)]
pub struct Seen {
    pub pid: i32,
    pub status: WaitStatus,
    /// The answers. The first one is that to the opening.
    pub answers: Vec<WorkerToFront>,
    /// The log records of the worker: text and fields.
    pub records: Vec<String>,
    /// The device and inode of its dotlock.
    pub lock: Option<(u64, u64)>,
}

/// The data of a reply to RETR.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// How many octets were announced.
    pub octets: u64,
    pub bytes: Vec<u8>,
    /// Whether the message arrived to its end.
    pub whole: bool,
}

impl Worker {
    /// Starts a worker, without a job. The error says that tracing is not possible, which some
    /// systems forbid.
    pub fn start(desk: &Desk) -> Result<Self, Errno> {
        let [control, log, session] = [(); 3].map(|()| socket_pair().unwrap());
        let theirs = [control.1.as_fd(), log.1.as_fd(), session.1.as_fd()];
        let root = File::open("/").unwrap();
        let child = spawn(&Spawn {
            executable: &desk.executable(),
            arguments: &["popward-worker"],
            null: null().as_fd(),
            descriptors: &theirs,
            directory: root.as_fd(),
            identity: desk.owner.identity.as_ref(),
        });
        let child = child.unwrap();
        let pid = Pid::from_raw(i32::try_from(child.pid).unwrap());
        super::await_exec(pid);
        let worker = Self {
            pid,
            monitor: Channel::new(control.0, JobPhase::Working),
            log: Channel::new(log.0, SetupPhase::Serving),
            front: Channel::new(session.0, ClientPhase::Opening),
            buffer: PacketBuffer::for_data(),
            ended: None,
        };
        watch(pid, child.pidfd);
        // The worker is seized before it has a job. Once it has one, it forbids other processes of
        // its user to trace it.
        ptrace::seize(
            pid,
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
        )?;
        Ok(worker)
    }

    /// Gives the worker its job.
    pub fn give_job(&self, desk: &Desk) {
        self.give_patient_job(desk, 0);
    }

    /// Gives the worker a job in which it tries for `timeout_ms` to lock. With 0 it tries once, so
    /// anything that a dead worker left in the way shows.
    pub fn give_patient_job(&self, desk: &Desk, timeout_ms: u32) {
        self.give(desk, Task::Serve, timeout_ms);
    }

    /// Gives the worker a job with this task.
    pub fn give(&self, desk: &Desk, task: Task, timeout_ms: u32) {
        let path = |path: &Path| AbsolutePath::try_from(path.to_str().unwrap().to_owned()).unwrap();
        let name = || UserName::try_from(NAME.to_owned()).unwrap();
        let job = Job {
            version: popward_proto::VERSION,
            session: SessionId::new(FrontId(1), 1),
            task,
            user: name(),
            uid: desk.owner.uid,
            gid: desk.owner.gid,
            groups: List::try_from(desk.owner.groups.clone()).unwrap(),
            spool_directory: path(&desk.mail()),
            spool_name: name(),
            state_directory: Some(path(&desk.state())),
            host: Text::truncated("here"),
            locks: LockSettings {
                dotlock: true,
                fcntl: true,
                flock: true,
                timeout_ms,
            },
            adopt: List::try_from(Vec::new()).unwrap(),
            hide: List::try_from(Vec::new()).unwrap(),
        };
        self.monitor.send(&SessionsToWorker::Job(job)).unwrap();
    }

    /// Sends a request, without waiting for the answer. A worker that has ended receives nothing.
    pub fn ask(&self, request: FrontToWorker) {
        match self.front.send(&request) {
            Ok(()) | Err(ChannelError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The next answer, in `phase`. `None`: the worker has ended without an answer.
    pub fn answer(&mut self, phase: ClientPhase) -> Option<WorkerToFront> {
        self.front.enter(phase);
        // If a worker dies with requests unread, the socket is reset. The reset arrives before
        // answers that the worker had sent, so this reads once more.
        for _ in 0..2 {
            readable(&self.front.as_fd());
            match self.front.receive_packet(&mut self.buffer) {
                Ok(Packet::Message(answer)) => return Some(answer),
                Ok(Packet::Data { .. }) => panic!("data that nobody asked for"),
                Err(ChannelError::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        }
        None
    }

    /// The data of the reply to RETR, as far as it arrived. `None`: there was no data, but another
    /// answer or none.
    pub fn body(&mut self) -> Option<Body> {
        self.front.enter(ClientPhase::Asked(Request::Body));
        let mut body = None;
        // A reset is read past, as in `answer`.
        let mut closed = 0;
        while closed < 2 {
            readable(&self.front.as_fd());
            match self.front.receive_packet(&mut self.buffer) {
                Ok(Packet::Data {
                    announced: first,
                    bytes,
                    last,
                }) => {
                    if let Some(WorkerToFront::Body(octets)) = first {
                        body = Some(Body {
                            octets,
                            bytes: Vec::new(),
                            whole: false,
                        });
                    }
                    let body = body.as_mut().unwrap();
                    body.bytes.extend_from_slice(bytes);
                    body.whole = last;
                    self.front.enter(ClientPhase::Streaming);
                    if last {
                        break;
                    }
                }
                Ok(Packet::Message(_)) => break,
                Err(ChannelError::Closed) => closed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        body
    }

    /// The answers to the opening and to `requests`, as far as they arrived.
    pub fn answers(&mut self, requests: &[FrontToWorker]) -> Vec<WorkerToFront> {
        let asked = requests
            .iter()
            .map(|request| ClientPhase::Asked(request.request()));
        let phases = std::iter::once(ClientPhase::Opening).chain(asked);
        let mut answers = Vec::new();
        for phase in phases {
            match self.answer(phase) {
                Some(answer) => answers.push(answer),
                None => break,
            }
            if matches!(answers.last(), Some(WorkerToFront::NotOpened(_))) {
                break;
            }
        }
        answers
    }

    /// Waits for the worker's next stop or its end.
    pub fn wait(&mut self) -> WaitStatus {
        let status = waitpid(self.pid, Some(WaitPidFlag::__WALL)).unwrap();
        if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            self.ended = Some(status);
        }
        status
    }

    /// How the worker ended.
    pub fn status(&self) -> WaitStatus {
        self.ended.unwrap()
    }

    /// Whether the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Lets the worker run to its end, if it is stopped.
    pub fn run_out(&mut self) {
        while !self.has_ended() {
            let signal = match self.wait() {
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            self.go_on(signal);
        }
    }

    /// Lets the worker run, if it has not ended.
    pub fn go_on(&self, signal: Option<Signal>) {
        if !self.has_ended() {
            ptrace::cont(self.pid, signal).unwrap();
        }
    }

    /// Kills the worker where it is.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            kill(self.pid, Signal::SIGKILL).unwrap();
        }
        while !self.has_ended() {
            self.wait();
        }
    }

    /// What the worker sent to the front and to the monitor. The worker must have ended.
    pub fn seen(mut self, requests: &[FrontToWorker], mut answers: Vec<WorkerToFront>) -> Seen {
        let status = self.ended.unwrap();
        if answers.is_empty() {
            answers = self.answers(requests);
        }
        let mut lock = None;
        while let Some(WorkerToSessions::Dotlock { device, inode }) =
            next(&mut self.monitor, &mut self.buffer)
        {
            lock = Some((device, inode));
        }
        let mut records = Vec::new();
        while let Some(record) = next(&mut self.log, &mut self.buffer) {
            let mut line = record.text.as_str().to_owned();
            for (name, value) in record.fields.as_slice() {
                line.push_str(&format!(" {name}={value}"));
            }
            records.push(line);
        }
        Seen {
            pid: self.pid.as_raw(),
            status,
            answers,
            records,
            lock,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.has_ended() {
            // No worker may be left, whatever went wrong before.
            let _ = kill(self.pid, Signal::SIGKILL);
            while matches!(
                waitpid(self.pid, Some(WaitPidFlag::__WALL)),
                Ok(status) if !matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            ) {}
        }
    }
}

/// The next message of a process that has ended. `None`: there is no more.
fn next<S, R>(channel: &mut Channel<S, R>, buffer: &mut PacketBuffer) -> Option<R>
where
    S: popward_proto::permit::Message,
    R: popward_proto::permit::Message,
{
    for _ in 0..2 {
        match channel.receive(buffer) {
            Ok((message, _)) => return Some(message),
            Err(ChannelError::Closed) => {}
            other => panic!("{:?}", other.err()),
        }
    }
    None
}

/// The request for DELE.
pub fn dele(number: u32) -> FrontToWorker {
    FrontToWorker::OfOne(
        MessageNumber(NonZeroU32::new(number).unwrap()),
        OfOne::Delete,
    )
}

/// The request for RETR.
pub fn retr(number: u32) -> FrontToWorker {
    FrontToWorker::OfOne(
        MessageNumber(NonZeroU32::new(number).unwrap()),
        OfOne::Whole,
    )
}

fn readable(end: &impl AsFd) {
    let mut ready = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
    let count = poll(&mut ready, PollTimeout::from(PATIENCE_MS)).unwrap();
    assert_eq!(count, 1, "the worker says nothing");
}

/// Kills a worker that lives too long, so that every wait for it ends. The pidfd shows when the
/// worker has ended.
fn watch(pid: Pid, pidfd: OwnedFd) {
    std::thread::spawn(move || {
        let mut ends = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ends, PollTimeout::from(PATIENCE_MS)) == Ok(0) {
            super::say(&format!("killed worker {pid}: it hung"));
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
}
