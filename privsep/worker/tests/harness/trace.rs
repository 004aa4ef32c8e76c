//! Steps a session from system call to system call, and interferes at one of them (ptrace(2)).
//!
//! The kernel applies the worker's filter of system calls after the tracer's change. So a call that
//! is to fail is exchanged for a permitted call that does nothing. A call number of -1 would not
//! pass the filter.

use super::Desk;
use super::worker::{Body, Seen, Worker, dele, retr};
use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use popward_proto::session::{ClientPhase, FrontToWorker, WorkerToFront};
use std::ops::Deref;
use std::path::Path;

/// The place from which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// From the call that receives the job: the whole session.
    Job,
    /// From the call that waits for QUIT, after all other requests were answered: the update.
    Quit,
}

/// What is done at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL before the call. That is also after the call before.
    Kill,
    /// SIGKILL within the call, after half of its bytes were written. Only for calls that write.
    KillWithin,
    /// The call fails and does nothing.
    Fail(Errno),
    /// The call fails, and so does every later call of its kind, as on a disk that stays full.
    KeepFailing(Errno),
    /// The call reads or writes only half of its bytes.
    Half,
    /// The call reads or writes only one byte.
    One,
}

/// A session: opening, deletions, and QUIT or an end without QUIT.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    pub deletions: &'a [u32],
    pub quit: bool,
    /// From where the session is traced. `None`: it is not traced.
    pub traced: Option<From>,
    /// Which of the counted calls is changed, and how.
    pub act: Option<(usize, Act)>,
}

impl Script<'_> {
    /// Opens the maildrop and quits.
    pub const PLAIN: Script<'static> = Script {
        deletions: &[],
        quit: true,
        traced: None,
        act: None,
    };
}

/// A session that has ended.
#[derive(Debug)]
pub struct Run {
    pub seen: Seen,
    /// The numbers of the counted system calls, up to the one that was changed.
    pub calls: Vec<i64>,
    /// Whether the script's act was done.
    pub acted: bool,
}

impl Deref for Run {
    type Target = Seen;
    fn deref(&self) -> &Seen {
        &self.seen
    }
}

impl Run {
    /// The answer to QUIT.
    pub fn quit(&self) -> Option<&WorkerToFront> {
        let quit = |answer: &&WorkerToFront| {
            matches!(
                answer,
                WorkerToFront::Committed(_) | WorkerToFront::NotCommitted(_)
            )
        };
        self.answers.last().filter(quit)
    }

    /// Whether QUIT was answered `+OK`.
    pub fn is_committed(&self) -> bool {
        matches!(self.quit(), Some(WorkerToFront::Committed(_)))
    }

    /// How many messages the worker found, if it opened the maildrop.
    pub fn opened(&self) -> Option<usize> {
        match self.answers.first() {
            Some(WorkerToFront::Opened(totals)) => Some(totals.messages as usize),
            _ => None,
        }
    }

    /// Whether the worker logged that it finished an update that a crash left.
    pub fn finished_an_update(&self) -> bool {
        let says = |record: &String| record.starts_with("finished an update");
        self.records.iter().any(says)
    }

    /// Whether this signal ended the worker.
    pub fn died_of(&self, signal: Signal) -> bool {
        matches!(self.status, WaitStatus::Signaled(_, by, _) if by == signal)
    }
}

/// Whether processes can be traced here.
pub fn can_trace(desk: &Desk) -> Result<(), Errno> {
    Worker::start(desk).map(drop)
}

/// Runs `script`, and calls `look` before each counted call.
pub fn run_looking(desk: &Desk, script: &Script<'_>, look: &mut dyn FnMut()) -> Run {
    let mut worker = Worker::start(desk).unwrap();
    let mut requests: Vec<_> = script.deletions.iter().map(|n| dele(*n)).collect();
    let (mut calls, mut acted, mut answers) = (Vec::new(), false, Vec::new());
    if script.traced == Some(From::Job) {
        stop(&mut worker);
        let first = to_call(&mut worker, &[libc::SYS_recvmsg]);
        worker.give_job(desk);
        // A front may not send a request before the maildrop is open, but here requests wait in the
        // socket until the worker reads them.
        if script.quit {
            requests.push(FrontToWorker::Quit);
        }
        requests.iter().for_each(|request| worker.ask(*request));
        (calls, acted) = step(&mut worker, first, script, look);
    } else {
        worker.give_job(desk);
        requests.iter().for_each(|request| worker.ask(*request));
        answers = worker.answers(&requests);
        let went_well = answers.len() == requests.len() + 1;
        if script.traced == Some(From::Quit) && went_well {
            stop(&mut worker);
            let first = to_call(&mut worker, WAITS);
            worker.ask(FrontToWorker::Quit);
            (calls, acted) = step(&mut worker, first, script, look);
        } else if script.quit {
            worker.ask(FrontToWorker::Quit);
        }
        worker.run_out();
        if went_well {
            answers.extend(worker.answer(ClientPhase::Asked(FrontToWorker::Quit.request())));
        }
    }
    worker.run_out();
    Run {
        seen: worker.seen(&requests, answers),
        calls,
        acted,
    }
}

/// Runs `script`.
pub fn run(desk: &Desk, script: &Script<'_>) -> Run {
    run_looking(desk, script, &mut || {})
}

/// Runs a session that retrieves a message and quits, and does `act` at one of the calls from RETR
/// on. Returns these calls, whether `act` was done, and what arrived of the message.
pub fn retrieve(
    desk: &Desk,
    number: u32,
    act: Option<(usize, Act)>,
) -> (Vec<i64>, bool, Option<Body>) {
    let mut worker = Worker::start(desk).unwrap();
    worker.give_job(desk);
    let opened = worker.answers(&[]);
    assert_eq!(opened.len(), 1);
    stop(&mut worker);
    let first = to_call(&mut worker, WAITS);
    worker.ask(retr(number));
    worker.ask(FrontToWorker::Quit);
    let script = Script {
        act,
        ..Script::PLAIN
    };
    let (calls, acted) = step(&mut worker, first, &script, &mut || {});
    worker.run_out();
    let body = worker.body();
    let seen = worker.seen(&[], opened);
    desk.clean_up(seen.lock, seen.pid);
    (calls, acted, body)
}

/// What became of a foreign call that the worker was made to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// It returned this.
    Returned(i64),
    /// The worker died.
    Died,
}

/// Runs the worker to its next call that is one of `at`. There it makes another call instead, with
/// `arguments`. If there is a `path`, its address takes the place of the second argument. The
/// worker's filter and Landlock judge the call as one of the worker's own.
pub fn foreign(
    worker: &mut Worker,
    at: &[i64],
    call: i64,
    mut arguments: [u64; 4],
    path: Option<&Path>,
) -> Foreign {
    stop(worker);
    let entry = to_call(worker, at);
    let mut other = entry;
    if let Some(path) = path {
        // Far below the stack, nothing is in use.
        let place = (entry.rsp - 4096) & !7;
        let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
        bytes.resize((bytes.len() / 8 + 1) * 8, 0);
        for (word, at) in bytes.chunks_exact(8).zip((place..).step_by(8)) {
            let word = i64::from_ne_bytes(word.try_into().unwrap());
            ptrace::write(worker.pid, at as ptrace::AddressType, word).unwrap();
        }
        arguments[1] = place;
    }
    other.orig_rax = register(call);
    [other.rdi, other.rsi, other.rdx, other.r10] = arguments;
    ptrace::setregs(worker.pid, other).unwrap();
    let Some(exit) = to_stop(worker) else {
        return Foreign::Died;
    };
    // As if the worker's own call had returned 0 and had changed no register.
    ptrace::setregs(worker.pid, user_regs_struct { rax: 0, ..entry }).unwrap();
    // A filter kills only now.
    if to_stop(worker).is_none() {
        return Foreign::Died;
    }
    worker.go_on(None);
    Foreign::Returned(i64::from_ne_bytes(exit.rax.to_ne_bytes()))
}

/// The calls in which the worker waits before it tries to lock again.
pub const PAUSES: &[i64] = &[libc::SYS_clock_nanosleep, libc::SYS_restart_syscall];

/// The calls in which the worker waits for a request.
pub const WAITS: &[i64] = &[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_restart_syscall];

/// Stops the worker where it is.
fn stop(worker: &mut Worker) {
    ptrace::interrupt(worker.pid).unwrap();
    let status = worker.wait();
    assert!(matches!(status, WaitStatus::PtraceEvent(..)), "{status:?}");
}

/// Runs the worker to the next entry or exit of a call. `None`: the worker has ended.
fn to_stop(worker: &mut Worker) -> Option<user_regs_struct> {
    let mut signal = None;
    loop {
        ptrace::syscall(worker.pid, signal).unwrap();
        match worker.wait() {
            WaitStatus::PtraceSyscall(pid) => return Some(registers(pid)),
            WaitStatus::Stopped(_, by) => signal = Some(by),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return None,
            _ => signal = None,
        }
    }
}

fn registers(pid: Pid) -> user_regs_struct {
    ptrace::getregs(pid).unwrap()
}

fn number(registers: &user_regs_struct) -> i64 {
    i64::from_ne_bytes(registers.orig_rax.to_ne_bytes())
}

fn register(number: i64) -> u64 {
    u64::from_ne_bytes(number.to_ne_bytes())
}

/// Runs the worker to the entry of the first call that is one of `calls`.
fn to_call(worker: &mut Worker, calls: &[i64]) -> user_regs_struct {
    loop {
        let entry = to_stop(worker).expect("it has ended");
        if calls.contains(&number(&entry)) {
            return entry;
        }
        to_stop(worker).expect("it has ended");
    }
}

/// Counts calls from `first`, which the worker is entering, and does the script's act when its call
/// comes. If the script has no QUIT, kills the worker while it waits for one.
fn step(
    worker: &mut Worker,
    first: user_regs_struct,
    script: &Script<'_>,
    look: &mut dyn FnMut(),
) -> (Vec<i64>, bool) {
    let mut calls = Vec::new();
    let mut entry = first;
    loop {
        look();
        let call = number(&entry);
        let is_due = script.act.filter(|(at, _)| *at == calls.len());
        calls.push(call);
        if let Some((_, act)) = is_due {
            return (calls, interfere(worker, &entry, act));
        }
        // All requests are in the socket already, so the worker waits for more. While it scans, it
        // only looks for a hang-up, without waiting.
        let looks = call == libc::SYS_poll && entry.rdx == 0;
        if !script.quit && !looks && [libc::SYS_poll, libc::SYS_ppoll].contains(&call) {
            worker.kill();
            return (calls, false);
        }
        if to_stop(worker).is_none() {
            return (calls, false);
        }
        match to_stop(worker) {
            Some(next) => entry = next,
            None => return (calls, false),
        }
    }
}

/// Does `act` at the call that the worker is entering, and lets the call run. Returns whether `act`
/// was possible.
fn interfere(worker: &mut Worker, entry: &user_regs_struct, act: Act) -> bool {
    let short = |act| {
        let length = shortable(number(entry)).then_some(entry.rdx)?;
        let wanted = if act == Act::One { 1 } else { length / 2 };
        (wanted > 0 && wanted < length).then_some(wanted)
    };
    let done = match act {
        Act::Kill => {
            worker.kill();
            true
        }
        Act::KillWithin => {
            let Some(length) = short(act).filter(|_| writes(number(entry))) else {
                worker.kill();
                return false;
            };
            shorten(worker, entry, length);
            worker.kill();
            true
        }
        Act::Fail(errno) => {
            fail(worker, entry, errno);
            true
        }
        Act::KeepFailing(errno) => {
            fail(worker, entry, errno);
            while let Some(next) = to_stop(worker) {
                if number(&next) == number(entry) {
                    fail(worker, &next, errno);
                } else {
                    to_stop(worker);
                }
                if worker.has_ended() {
                    break;
                }
            }
            true
        }
        Act::Half | Act::One => short(act).is_some_and(|length| {
            shorten(worker, entry, length);
            true
        }),
    };
    worker.go_on(None);
    done
}

/// Makes the call that the worker is entering do nothing and return `errno`.
fn fail(worker: &mut Worker, entry: &user_regs_struct, errno: Errno) {
    let mut other = *entry;
    other.orig_rax = register(libc::SYS_close);
    other.rdi = u64::MAX;
    ptrace::setregs(worker.pid, other).unwrap();
    let mut exit = to_stop(worker).expect("the filter does not permit close(2)");
    exit.rdi = entry.rdi;
    exit.rax = register(-i64::from(errno as i32));
    ptrace::setregs(worker.pid, exit).unwrap();
}

/// Makes the call that the worker is entering transfer at most `length` bytes.
fn shorten(worker: &mut Worker, entry: &user_regs_struct, length: u64) {
    let mut other = *entry;
    other.rdx = length;
    ptrace::setregs(worker.pid, other).unwrap();
    if let Some(mut exit) = to_stop(worker) {
        // The kernel normally leaves this register alone, and the compiler relies on that.
        exit.rdx = entry.rdx;
        ptrace::setregs(worker.pid, exit).unwrap();
    }
}

/// Whether this call has a length in its third argument and may transfer less.
pub fn shortable(call: i64) -> bool {
    writes(call) || [libc::SYS_read, libc::SYS_pread64].contains(&call)
}

/// Whether this call writes, and may write only a part.
pub fn writes(call: i64) -> bool {
    [libc::SYS_write, libc::SYS_pwrite64].contains(&call)
}
