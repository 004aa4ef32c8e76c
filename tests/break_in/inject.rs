//! Makes system calls in a running process (ptrace(2)), as code that has taken it over would.
//!
//! The process is stopped for some milliseconds. Meanwhile it makes a copy of itself, with its
//! memory, ids, capabilities, filter, Landlock rules and root directory. Then it goes on and
//! notices nothing. The copy never runs its own code. Each attempt makes a copy of the copy, so one
//! that a filter kills costs nothing.

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// How long a system call may take. A process whose call takes longer dies of SIGKILL. A call can
/// wait for the program that loads a kernel module.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of the memory below the stack pointer, how much holds the arguments of calls.
const ROOM: u64 = 16 << 10;

/// An argument of a system call.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A number.
    Number(i64),
    /// The address of these bytes.
    Bytes(Vec<u8>),
    /// What the call with this number returned, from 0 on.
    Result(usize),
    /// The address of a page of the process's stack.
    Stack,
}

/// A system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number.
    pub number: i64,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The call did what was asked.
    Done,
    /// The call failed.
    Failed(Errno),
    /// A signal ended the process.
    Died(Signal),
}

/// Whether the process's own filter stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The filter is on.
    On,
    /// The kernel leaves the filter out.
    Suspended,
}

/// A copy of a process. Dropping it ends it.
#[derive(Debug)]
pub struct Double {
    pid: Pid,
    registers: user_regs_struct,
    /// The address of an instruction `syscall`.
    instruction: u64,
    /// A copy of this one in which nothing has changed yet.
    unchanged: RefCell<Option<Box<Double>>>,
}

/// A process that is traced has no children that are not, and ends with this test.
fn options(filter: Filter) -> Options {
    let traced = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    match filter {
        Filter::On => traced,
        Filter::Suspended => traced | Options::from_bits_retain(libc::PTRACE_O_SUSPEND_SECCOMP),
    }
}

impl Double {
    /// A copy of the process `pid`, which goes on.
    ///
    /// # Errors
    ///
    /// This host does not permit to trace processes, or not without their filters.
    pub fn of(pid: i32) -> Result<Self, Errno> {
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, Options::empty())?;
        ptrace::interrupt(pid)?;
        let mut held_back = None;
        while let WaitStatus::Stopped(_, signal) = wait(pid) {
            held_back = Some(signal);
            ptrace::cont(pid, None)?;
        }
        let copy = Self::of_stopped(pid);
        ptrace::detach(pid, held_back)?;
        copy
    }

    /// A copy of a process that this thread traces and has stopped. Changes the options with which
    /// it is traced.
    ///
    /// # Errors
    ///
    /// The process cannot be traced without its filter.
    pub fn of_stopped(pid: Pid) -> Result<Self, Errno> {
        // The process must live on if this test ends.
        ptrace::setoptions(pid, options(Filter::Suspended) - Options::PTRACE_O_EXITKILL)?;
        let found = Self {
            pid,
            registers: ptrace::getregs(pid)?,
            instruction: find_instruction(pid)?,
            unchanged: RefCell::default(),
        };
        let made = found.copy();
        // The call that the process was in is begun anew when it goes on.
        ptrace::setregs(pid, found.registers)?;
        let copy = made.map(|pid| found.with(pid));
        std::mem::forget(found);
        let copy = copy?;
        // From now on it ends with this test.
        ptrace::setoptions(copy.pid, options(Filter::Suspended))?;
        Ok(copy)
    }

    /// The same for the process `pid`, a copy of this one.
    fn with(&self, pid: Pid) -> Self {
        Self {
            pid,
            unchanged: RefCell::default(),
            ..*self
        }
    }

    /// Makes the process copy itself. The new process is stopped.
    fn copy(&self) -> Result<Pid, Errno> {
        // Without a signal at its end, the parent does not hear of the copy.
        let clone = [0; 6];
        let mut made = None;
        self.begin(libc::SYS_clone, clone)?;
        loop {
            match wait(self.pid) {
                WaitStatus::PtraceEvent(_, _, event) if is_birth(event) => {
                    let pid = i32::try_from(ptrace::getevent(self.pid)?).unwrap();
                    made = Some(Pid::from_raw(pid));
                }
                WaitStatus::Stopped(_, Signal::SIGTRAP) => break,
                WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => {}
                other => panic!("a copy: {other:?}"),
            }
            ptrace::step(self.pid, None)?;
        }
        let returned = ptrace::getregs(self.pid)?.rax as i64;
        let pid = made.ok_or_else(|| Errno::from_raw(i32::try_from(-returned).unwrap_or(0)))?;
        assert!(matches!(wait(pid), WaitStatus::PtraceEvent(..)));
        Ok(pid)
    }

    /// Begins a system call. The process stops after it.
    fn begin(&self, number: i64, arguments: [u64; 6]) -> Result<(), Errno> {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let registers = user_regs_struct {
            // It is in no call that could begin anew.
            orig_rax: u64::MAX,
            rax: number as u64,
            rip: self.instruction,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.registers
        };
        ptrace::setregs(self.pid, registers)?;
        ptrace::step(self.pid, None)
    }

    /// Makes a system call and returns what it returned.
    pub fn make(&self, number: i64, arguments: [u64; 6]) -> Result<i64, Outcome> {
        self.begin(number, arguments).map_err(Outcome::Failed)?;
        loop {
            match wait(self.pid) {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => break,
                WaitStatus::PtraceEvent(_, _, event) if is_birth(event) => {
                    if let Ok(child) = ptrace::getevent(self.pid) {
                        end(Pid::from_raw(i32::try_from(child).unwrap()));
                    }
                }
                WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => {}
                WaitStatus::Signaled(_, signal, _) => return Err(Outcome::Died(signal)),
                // Another program ran in this process and has ended.
                WaitStatus::Exited(..) => return Ok(0),
                other => panic!("{number}: {other:?}"),
            }
            ptrace::step(self.pid, None).map_err(Outcome::Failed)?;
        }
        let registers = ptrace::getregs(self.pid).map_err(Outcome::Failed)?;
        match registers.rax as i64 {
            errno @ -4095..0 => Err(Outcome::Failed(Errno::from_raw(-errno as i32))),
            value => Ok(value),
        }
    }

    /// Tries `call` in a copy in which no other call was made, or calls that failed. `before` are
    /// calls whose results `call` needs. The filter does not see these. If one of them fails,
    /// `call` gets -1 instead of its result.
    ///
    /// Returns what came of `call`. If that is an error, and a call before has failed, returns the
    /// error of the latter.
    pub fn attempt(&self, filter: Filter, before: &[Call], call: &Call) -> Outcome {
        let unchanged = self.unchanged.take();
        let copy = unchanged.unwrap_or_else(|| Box::new(self.with(self.copy().unwrap())));
        let outcome = copy.attempt_here(filter, before, call);
        if matches!(outcome, Outcome::Failed(_)) && before.is_empty() {
            self.unchanged.replace(Some(copy));
            return outcome;
        }
        let pid = copy.pid;
        drop(copy);
        // The copy that it was made from is its parent.
        let wait4 = [pid.as_raw() as u64, 0, libc::__WALL as u64, 0, 0, 0];
        assert_eq!(
            self.make(libc::SYS_wait4, wait4),
            Ok(i64::from(pid.as_raw()))
        );
        outcome
    }

    /// Makes `call` here. See [`Double::attempt`].
    pub fn attempt_here(&self, filter: Filter, before: &[Call], call: &Call) -> Outcome {
        ptrace::setoptions(self.pid, options(Filter::Suspended)).unwrap();
        let mut results = Vec::new();
        let mut failed = None;
        for call in before {
            let result = self.make(call.number, self.arguments(call, &results));
            failed = failed.or(result.err());
            results.push(result.unwrap_or(-1));
        }
        ptrace::setoptions(self.pid, options(filter)).unwrap();
        let result = self.make(call.number, self.arguments(call, &results));
        match (result, failed) {
            (Ok(_), None) => Outcome::Done,
            (Err(Outcome::Died(signal)), _) => Outcome::Died(signal),
            (Err(Outcome::Failed(Errno::EBADF)) | Ok(_), Some(failed)) => failed,
            (Err(outcome), _) => outcome,
        }
    }

    /// Puts the arguments into the process's memory.
    fn arguments(&self, call: &Call, results: &[i64]) -> [u64; 6] {
        let memory = File::options()
            .write(true)
            .open(format!("/proc/{}/mem", self.pid))
            .unwrap();
        let mut room = (self.registers.rsp - ROOM) & !0xfff;
        let mut words = [0; 6];
        for (word, argument) in words.iter_mut().zip(&call.arguments) {
            *word = match argument {
                Argument::Number(number) => *number as u64,
                Argument::Result(number) => results[*number] as u64,
                Argument::Stack => self.registers.rsp & !0xfff,
                Argument::Bytes(bytes) => {
                    memory.write_all_at(bytes, room).unwrap();
                    let at = room;
                    room += (bytes.len() as u64).next_multiple_of(16);
                    at
                }
            };
        }
        words
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        end(self.pid);
    }
}

/// Whether a traced process has stopped because it has a child. It also stops if its original has
/// ended: then the kernel signals the process group.
fn is_birth(event: i32) -> bool {
    [
        libc::PTRACE_EVENT_FORK,
        libc::PTRACE_EVENT_VFORK,
        libc::PTRACE_EVENT_CLONE,
    ]
    .contains(&event)
}

/// Ends a traced process.
fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    while !matches!(
        waitpid(pid, Some(WaitPidFlag::__WALL)),
        Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(Errno::ECHILD)
    ) {}
}

/// The process that [`wait`] waits for, and since when.
static WAITED: Mutex<Option<(Pid, Instant)>> = Mutex::new(None);

/// Kills a process whose call does not return.
fn watch() {
    static STARTED: Once = Once::new();
    let look = || {
        if let Some((pid, since)) = *WAITED.lock().unwrap() {
            if since.elapsed() > PATIENCE {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    };
    STARTED.call_once(|| {
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(PATIENCE / 10);
                look();
            }
        });
    });
}

/// The next state of a traced process. One that takes too long is killed.
pub fn wait(pid: Pid) -> WaitStatus {
    watch();
    *WAITED.lock().unwrap() = Some((pid, Instant::now()));
    let status = waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    *WAITED.lock().unwrap() = None;
    status
}

/// The address of an instruction `syscall` in the memory of a process.
fn find_instruction(pid: Pid) -> Result<u64, Errno> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|_| Errno::ESRCH)?;
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(|_| Errno::EACCES)?;
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        rest.starts_with("r-x")
            .then_some((number(start)?, number(end)?))
    });
    const PIECE: usize = 64 << 10;
    for (start, end) in ranges {
        for from in (start..end).step_by(PIECE) {
            let mut code = vec![0; PIECE.min((end - from) as usize)];
            if memory.read_exact_at(&mut code, from).is_err() {
                break;
            }
            let found = code.windows(2).position(|pair| pair == [0x0f, 0x05]);
            if let Some(at) = found {
                return Ok(from + at as u64);
            }
        }
    }
    Err(Errno::ENOEXEC)
}
