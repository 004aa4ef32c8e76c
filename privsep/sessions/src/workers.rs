//! Workers: from an account to a process, and what is known of its session until it has ended.

use crate::config::Config;
use crate::starter::{WorkerChild, WorkerStarter};
use crate::state::{StateError, StateRoot};
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use popward_proto::VERSION;
use popward_proto::account::{Account, SessionId};
use popward_proto::bounded::{AbsolutePath, List, OutOfBounds, UserName};
use popward_proto::log_line::Role;
use popward_proto::sessions_worker::{
    Job, NO_SPOOL, NOT_FINISHED, NOT_OPENED, SESSION_ARGUMENT, SessionsToWorker, Task,
    WorkerToSessions,
};
use popward_proto::settings::{Settings, place};
use popward_proto::supervisor_sessions::Refusal;
use popward_sys::channel::nonblocking_pair;
use popward_sys::confine;
use popward_sys::spawn::ChildIdentity;
use std::os::fd::{AsFd, OwnedFd};

/// A worker, and its session.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) child: WorkerChild,
    pub(crate) session: Session,
}

/// A session that has a worker.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which.
    pub(crate) id: SessionId,
    /// Whose.
    pub(crate) account: Account,
    /// Where its spool lies.
    pub(crate) place: (AbsolutePath, UserName),
    /// With which group's rights its dotlock is made and removed.
    pub(crate) lock_gid: u32,
    /// Device and inode of the dotlock that its worker told of.
    pub(crate) dotlock: Option<(u64, u64)>,
    /// What its worker is there for.
    pub(crate) task: Task,
    /// How far an update has come, as its worker told.
    pub(crate) update: Progress,
    /// How many workers have been started to finish what a session left, this one among them.
    pub(crate) finishers: u8,
    /// The front's end of its socket, until a front has it. If it were closed, the worker would
    /// end.
    pub(crate) front_end: Option<OwnedFd>,
    /// The worker's end, while popward-adopt has it: the worker that follows gets it.
    pub(crate) worker_end: Option<OwnedFd>,
    /// The session whose dotlock this worker removes, and how that session's worker ended.
    pub(crate) left: Option<(Box<Session>, WaitStatus)>,
}

/// What is known of a worker's update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is none.
    None,
    /// It begins. If the worker dies, another one must finish it.
    Begun,
    /// Another worker's update is done.
    Finished,
}

impl Session {
    /// Its worker has said something.
    pub(crate) fn heard(&mut self, message: WorkerToSessions) {
        match message {
            WorkerToSessions::Dotlock { device, inode } => self.dotlock = Some((device, inode)),
            WorkerToSessions::Updates => self.update = Progress::Begun,
            // The update of its own session is still to come.
            WorkerToSessions::Finished if self.task == Task::Serve => self.update = Progress::None,
            WorkerToSessions::Finished => self.update = Progress::Finished,
        }
    }

    /// Whether its worker changes the spool.
    pub(crate) fn is_updating(&self) -> bool {
        self.update == Progress::Begun || matches!(self.task, Task::Finish { .. })
    }

    /// Whether its worker opens a maildrop for a client.
    pub(crate) fn opens(&self) -> bool {
        matches!(self.task, Task::Serve | Task::Adopt)
    }

    /// Whether its worker, which has ended with this status, leaves the spool half moved, so that
    /// another one must finish.
    pub(crate) fn is_torn(&self, status: WaitStatus) -> bool {
        match (status, self.task) {
            // These change no spool.
            (_, Task::Adopt | Task::Free { .. }) => false,
            (WaitStatus::Exited(_, code), _) if [0, i32::from(NOT_OPENED)].contains(&code) => false,
            (WaitStatus::Exited(_, code), _) if code == i32::from(NOT_FINISHED) => true,
            (_, Task::Serve) => self.update == Progress::Begun,
            (_, Task::Finish { .. }) => self.update != Progress::Finished,
        }
    }

    /// Whether popward-adopt has done its task, or found no spool. A worker follows.
    pub(crate) fn worker_follows(&self, status: WaitStatus) -> bool {
        let code = |code| [0, i32::from(NO_SPOOL)].contains(&code);
        self.task == Task::Adopt && matches!(status, WaitStatus::Exited(_, with) if code(with))
    }
}

/// Why a grant became no worker.
#[derive(Debug)]
pub(crate) enum NoWorker {
    /// The supervisor has refused the session.
    Refused(Refusal),
    /// The account may not log in, whatever auth says.
    Account(&'static str),
    /// There is no place for its spool.
    Spool(OutOfBounds),
    /// It has no state directory.
    State(StateError),
    /// The process could not be started.
    Start(Errno),
}

impl std::fmt::Display for NoWorker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(Refusal::TooMany) => out.write_str("as many sessions as a user may have"),
            Self::Refused(Refusal::Adopting) => {
                out.write_str("popward-adopt works for another session of theirs")
            }
            Self::Refused(Refusal::Elsewhere) => {
                out.write_str("a session with what was their spool lasts")
            }
            Self::Account(why) => out.write_str(why),
            Self::Spool(error) => write!(out, "spool.path: {error}"),
            Self::State(error) => write!(out, "state directory: {error}"),
            Self::Start(errno) => write!(out, "worker not started: {errno}"),
        }
    }
}

/// Checks an account, and returns where its spool lies: the directory, and the spool's name in it.
/// Auth is trusted with passwords, not with who may be whom.
pub(crate) fn place(
    config: &Config,
    (account, own): (&Account, &Settings),
) -> Result<(AbsolutePath, UserName), NoWorker> {
    let within = (config.base.first_uid..=config.base.last_uid).contains(&account.uid);
    if account.uid == 0 || !within {
        return Err(NoWorker::Account("user id out of the configured range"));
    }
    if account.gid == 0 {
        return Err(NoWorker::Account("root's group"));
    }
    if !config.base.as_users && account.uid != nix::unistd::geteuid().as_raw() {
        return Err(NoWorker::Account("another user, and popward is not root"));
    }
    place::place(&own.spool, account).map_err(NoWorker::Spool)
}

/// Whether popward-adopt works before a session of this account. It does so for a user who has no
/// state directory, if `adopt.from` is configured.
pub(crate) fn adopts(state: &StateRoot, (account, own): (&Account, &Settings)) -> bool {
    !own.spool.adopt.as_slice().is_empty() && !state.has(&account.name)
}

/// Decides between a session and an adoption, and returns the path of the state directory, if the
/// process gets one. `adopted`: popward-adopt has worked for this session.
///
/// Nothing but an adoption makes a state directory while the user's mail waits for its names. With
/// a state directory, the user would not be adopted any more.
fn task_and_state(
    state: &StateRoot,
    whose: (&Account, &Settings),
    task: Task,
    adopted: bool,
) -> Result<(Task, Option<AbsolutePath>), NoWorker> {
    let account = whose.0;
    let (user, uid, gid) = (&account.name, account.uid, account.gid);
    let (task, directory) = match task {
        Task::Serve if adopts(state, whose) && adopted => return Ok((task, None)),
        Task::Serve if adopts(state, whose) => (Task::Adopt, state.draft_of(user, uid, gid)),
        Task::Free { .. } => return Ok((task, None)),
        Task::Finish { .. } if !state.has(user) => return Ok((task, None)),
        task => (task, state.of(user, uid, gid)),
    };
    let directory = directory.map_err(NoWorker::State)?;
    let directory = AbsolutePath::try_from(directory.to_string_lossy().into_owned());
    Ok((task, Some(directory.map_err(NoWorker::Spool)?)))
}

/// Starts popward-adopt or a worker for an account, by these settings. The task of a new session is
/// [`Task::Serve`]. `socket` is the worker's end of the session's socket, if popward-adopt had it
/// before.
pub(crate) fn start(
    config: &Config,
    starter: &mut WorkerStarter,
    state: &StateRoot,
    session: SessionId,
    (account, own): (&Account, &Settings),
    task: Task,
    socket: Option<OwnedFd>,
) -> Result<Worker, NoWorker> {
    let (spool_directory, spool_name) = place(config, (account, own))?;
    let (task, state_directory) = task_and_state(state, (account, own), task, socket.is_some())?;
    let role = match task {
        Task::Adopt => Role::Adopt,
        Task::Serve | Task::Finish { .. } | Task::Free { .. } => Role::Worker,
    };
    let lock_group = own.spool.group.filter(|_| config.base.as_users);
    let groups = groups(config, account)?;
    let identity = config.base.as_users.then(|| ChildIdentity {
        effective_gid: lock_group.unwrap_or(account.gid),
        groups: groups.clone(),
        ..ChildIdentity::of(account.uid, account.gid)
    });
    let (front_end, worker_end) = if let Some(worker_end) = socket {
        (None, worker_end)
    } else {
        let (front_end, worker_end) = nonblocking_pair().map_err(NoWorker::Start)?;
        (Some(front_end), worker_end)
    };
    let shown = format!("{SESSION_ARGUMENT}{session}");
    let about = (session, account.name.clone());
    let child = starter.start(role, &shown, identity, about, worker_end.as_fd());
    let child = child.map_err(NoWorker::Start)?;
    let job = Job {
        version: VERSION,
        session,
        task,
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        groups: List::try_from(groups).map_err(|_| NoWorker::Account("too many groups"))?,
        spool_directory: spool_directory.clone(),
        spool_name: spool_name.clone(),
        state_directory,
        host: config.base.host.clone(),
        locks: own.spool.locks,
        adopt: own.spool.adopt.clone(),
        hide: own.spool.hide.clone(),
    };
    // The first packet of an empty socket never waits. If it fails, the worker finds its channel
    // closed and ends, and the front ends the session.
    let _ = child.send(&SessionsToWorker::Job(job), &[]);
    let session = Session {
        id: session,
        account: account.clone(),
        place: (spool_directory, spool_name),
        lock_gid: lock_group.unwrap_or(account.gid),
        dotlock: match task {
            Task::Serve | Task::Adopt | Task::Free { .. } => None,
            Task::Finish { dotlock } => dotlock,
        },
        task,
        update: Progress::None,
        finishers: 0,
        front_end,
        worker_end: (task == Task::Adopt).then_some(worker_end),
        left: None,
    };
    Ok(Worker { child, session })
}

/// The supplementary groups of an account's worker.
fn groups(config: &Config, account: &Account) -> Result<Vec<u32>, NoWorker> {
    if config.base.as_users {
        let groups = account.groups.as_slice().iter().copied();
        return Ok(groups.filter(|gid| *gid != 0).collect());
    }
    // Only root can give groups up.
    confine::groups().map_err(|_| NoWorker::Account("this process's groups"))
}
