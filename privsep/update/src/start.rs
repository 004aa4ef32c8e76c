//! Takes a process from its first instruction to a locked spool and full confinement.
//!
//! The process confines itself twice, because Landlock and filters add up. Before it tries to lock,
//! it gives up what no lock needs. Once it has its locks, it gives up what only locking needs.

use crate::error::OpenError;
use crate::locks::{self, Holder, LockedSpool};
use crate::recovery::recover;
use crate::session_log::SessionLog;
use crate::state::State;
use crate::steps::Sizes;
use crate::syscalls;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, getegid, setresgid};
use popward_proto::log::Level;
use popward_proto::session::{FrontToWorker, WorkerPhase, WorkerToFront};
use popward_proto::sessions_worker::{Job, JobPhase, SessionsToWorker, Task, WorkerToSessions};
use popward_sys::capabilities::Capabilities;
use popward_sys::channel::{self, Channel};
use popward_sys::confine::{self, Identity, NotConfined, attempt};
use popward_sys::inherited;
use popward_sys::landlock::{self, READ_DIRECTORY, READ_FILE, REGULAR_FILES, Rights, Rule};
use popward_sys::log::Log;
use popward_sys::seccomp::{self, RUNTIME};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Opens a directory for what lies in it, and not to read it.
const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// The session's socket.
pub type ToFront = Channel<WorkerToFront, FrontToWorker>;
/// The channel to sessions.
pub type ToMonitor = Channel<WorkerToSessions, SessionsToWorker>;

/// The two processes that this process talks to.
pub struct Ends {
    /// The front of this session.
    pub front: ToFront,
    /// The channel to sessions.
    pub monitor: ToMonitor,
}

impl Ends {
    /// Whether the front or sessions has hung up. This does not wait.
    pub fn gone(&self) -> bool {
        // A hang-up is always reported.
        let hung_up = PollFlags::empty();
        let mut ready = [
            PollFd::new(self.front.as_fd(), hung_up),
            PollFd::new(self.monitor.as_fd(), hung_up),
        ];
        let _ = poll(&mut ready, PollTimeout::ZERO);
        ready.iter().any(|end| end.any() == Some(true))
    }
}

/// Takes the inherited descriptors and receives the job. `None`: a descriptor is missing, or
/// sessions sent something else than a job of this version.
pub fn job() -> Option<(Job, Ends, SessionLog)> {
    let [control, log, session] = inherited::take::<3>().ok()?;
    let log = Log::new(log).ok()?;
    let mut monitor: ToMonitor = Channel::new(control, JobPhase::Given);
    let SessionsToWorker::Job(job) = monitor.receive_message().ok()?;
    if job.version != popward_proto::VERSION {
        return None;
    }
    monitor.enter(JobPhase::Working);
    let front = Channel::new(session, WorkerPhase::Opening);
    front.set_nonblocking().ok()?;
    let log = SessionLog {
        log,
        session: job.session,
        user: job.user.clone(),
    };
    Some((job, Ends { front, monitor }, log))
}

/// What a confined process works on.
#[derive(Default)]
pub struct Started {
    /// The locked spool. `None`: there is no spool.
    pub spool: Option<LockedSpool>,
    /// The user's state directory. `None`: the job names none.
    pub state: Option<State>,
    /// How long the process waited for its locks.
    pub waited: Duration,
}

/// Confines the process, locks the spool of `job`, confines it further, and finishes an update that
/// another process left. [`Task::Adopt`] finishes no update. [`Task::Free`] locks nothing.
pub fn start(job: &Job, ends: &Ends, log: &SessionLog) -> Result<Started, OpenError> {
    confine::harden(32).map_err(OpenError::Confine)?;
    let mut identity = Identity {
        uid: job.uid,
        gid: job.gid,
        effective_gid: getegid().as_raw(),
    };
    if job.uid == 0 {
        return Err(OpenError::Confine(NotConfined::Unproven("run as root")));
    }
    let groups = job.groups.as_slice();
    // The effective group may be that of the spool's directory. Whoever frees a lock keeps it,
    // whoever locks gives it up afterwards.
    confine::prove(&identity, groups, Capabilities::NONE).map_err(OpenError::Confine)?;
    if matches!(job.task, Task::Free { .. }) {
        // The signal ends this process, wherever it hangs. A client waits for its end.
        nix::unistd::alarm::set(FREE_S);
    }
    let directory = open(job.spool_directory.as_path(), DIRECTORY, Mode::empty())
        .map_err(|errno| OpenError::System("the spool's directory cannot be opened", errno))?;
    let path = job.state_directory.as_ref();
    let flags = DIRECTORY | OFlag::O_NOFOLLOW;
    let reach = path.and_then(|path| open(path.as_path(), flags, Mode::empty()).ok());
    let reach: Vec<_> = reach.iter().map(|fd| (fd.as_fd(), WITHIN_STATE)).collect();
    confine_to_locking(&directory, &reach).map_err(OpenError::Confine)?;
    if let Task::Free { pid, dotlock } = job.task {
        locks::free(job, &directory, pid, dotlock)?;
        return Ok(Started::default());
    }
    let began = Instant::now();
    let mut spool = lock(job, &directory, ends)?;
    let waited = began.elapsed();

    identity.effective_gid = job.gid;
    confine_to_state(job, &identity, &reach).map_err(OpenError::Confine)?;
    let state = path.map(|path| State::new(path.as_path()));
    // An adoption's state directory is new, so no session can have left an update in it.
    if let (Some(spool), Some(state), true) = (&mut spool, &state, job.task != Task::Adopt) {
        finish_left_update(ends, log, spool, state)?;
    }
    Ok(Started {
        spool,
        state,
        waited,
    })
}

/// How many seconds the removal of a dotlock may take. A home directory on a file system of the
/// user or of another host can hang.
const FREE_S: u32 = 10;

/// What may be done in the state directory. It is listed by nobody, but synced.
const WITHIN_STATE: Rights = REGULAR_FILES | READ_DIRECTORY;

/// Gives up what no lock needs. The process can open files in the spool's directory and beneath
/// `reach`, and read in `/proc` who holds a lock.
fn confine_to_locking(directory: &OwnedFd, reach: &[Rule<'_>]) -> Result<(), NotConfined> {
    // Without it, no process counts as dead, and no holder has a name.
    let processes = open("/proc", DIRECTORY, Mode::empty()).ok();
    let processes = processes.iter().map(|fd| (fd.as_fd(), READ_FILE));
    let mut rules: Vec<_> = processes.collect();
    rules.push((directory.as_fd(), REGULAR_FILES));
    rules.extend_from_slice(reach);
    landlock::restrict(&rules)?;
    seccomp::install(&[&KEPT[..], &[syscalls::LOCKING]].concat())
}

/// The calls that the process keeps. Until it has its locks, it has [`syscalls::LOCKING`] too.
const KEPT: [&[seccomp::Rule]; 3] = [RUNTIME, channel::CALLS, syscalls::TABLE];

/// Gives up what only locking needs, and proves it. The process can open files beneath `reach`, its
/// state directory, only.
fn confine_to_state(job: &Job, identity: &Identity, reach: &[Rule<'_>]) -> Result<(), NotConfined> {
    // The process gives up the directory's group before it reads the spool's first byte. The group
    // is the effective group, and the exec made it the saved group too. Once all three are the
    // user's own group, there is no way back.
    let gid = Gid::from_raw(job.gid);
    attempt("give up the group", setresgid(gid, gid, gid))?;
    // That has made the process dumpable again if fs.suid_dumpable is set (apport,
    // systemd-coredump).
    attempt("not dumpable", nix::sys::prctl::set_dumpable(false))?;
    confine::prove(identity, job.groups.as_slice(), Capabilities::NONE)?;
    landlock::restrict(reach)?;
    seccomp::reduce(&KEPT, syscalls::LOCKING)
}

fn finish_left_update(
    ends: &Ends,
    log: &SessionLog,
    spool: &mut LockedSpool,
    state: &State,
) -> Result<(), OpenError> {
    // If the message is lost and this process dies as well, the next opening finishes the update.
    let begins = || {
        let _ = ends.monitor.send(&WorkerToSessions::Updates);
    };
    if recover(Sizes::SHIPPED, spool, state, begins).map_err(OpenError::Recovery)? {
        log.write(Level::Notice, "finished an update that was broken off", &[]);
        // If the message is lost, the front tells its waiting client that the update failed.
        let _ = ends.monitor.send(&WorkerToSessions::Finished);
    }
    Ok(())
}

/// Tries to lock until the job's timeout. Each try takes all locks or none. The pause between two
/// tries has a random length.
fn lock(job: &Job, directory: &OwnedFd, ends: &Ends) -> Result<Option<LockedSpool>, OpenError> {
    let until = Instant::now() + Duration::from_millis(job.locks.timeout_ms.into());
    loop {
        let mut tell = |device, inode| {
            // If sessions has gone, the session has ended too. The check after the next pause
            // sees that.
            let told = WorkerToSessions::Dotlock { device, inode };
            let _ = ends.monitor.send(&told);
        };
        match locks::try_lock(job, directory, &mut tell) {
            Err(OpenError::Busy(..) | OpenError::Replaced) if Instant::now() < until => {}
            Err(OpenError::Busy(lock, _)) => {
                return Err(OpenError::Busy(lock, Holder::of(job, directory)));
            }
            result => return result,
        }
        std::thread::sleep(locks::pause());
        if ends.gone() {
            return Err(OpenError::Gone);
        }
    }
}
