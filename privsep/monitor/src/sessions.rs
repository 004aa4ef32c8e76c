//! From auth's grant to a worker, and what is left of it when it has gone.

use crate::children::{Nursery, Role, Sockets};
use crate::config::Config;
use crate::dotlock::Dotlock;
use crate::spool;
use crate::state::{StateError, StateRoot};
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use popward_proto::account::{Account, SessionId};
use popward_proto::bounded::{AbsolutePath, List, OutOfBounds, UserName};
use popward_proto::monitor_worker::{
    Job, JobPhase, MonitorToWorker, NOT_FINISHED, NOT_OPENED, SESSION_ARGUMENT, Task,
    WorkerToMonitor,
};
use popward_proto::settings::Settings;
use popward_sys::channel::{Channel, ChannelError, socket_pair};
use popward_sys::confine;
use popward_sys::spawn::{Child, ChildIdentity};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A session that has a worker.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which.
    pub(crate) id: SessionId,
    /// Whose.
    pub(crate) account: Account,
    /// What held for it when it began, and holds for whoever finishes its update: a reload may say that its spool is elsewhere.
    pub(crate) settings: Settings,
    directory: PathBuf,
    spool: UserName,
    /// With which group's rights its dotlock is made and removed.
    lock_gid: u32,
    /// Device and inode of the dotlock that its worker told of.
    pub(crate) dotlock: Option<(u64, u64)>,
    /// What its worker is there for.
    pub(crate) task: Task,
    /// How far an update has come, as its worker told.
    pub(crate) update: Progress,
    /// How many workers have been started to finish what a session left, this one among them.
    pub(crate) finishers: u8,
    /// The front's end of its socket, until a front has it. If it were closed, the worker would end.
    pub(crate) front_end: Option<OwnedFd>,
    /// The worker's end, while popward-adopt has it: the worker that follows gets it.
    pub(crate) worker_end: Option<OwnedFd>,
}

/// What is known of a worker's update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is none.
    None,
    /// It begins, and if the worker ends before its time somebody has to finish it.
    Begun,
    /// Another worker's update is done.
    Finished,
}

impl Session {
    /// Whether its worker changes the spool.
    pub(crate) fn is_updating(&self) -> bool {
        self.update == Progress::Begun || matches!(self.task, Task::Finish { .. })
    }

    /// Whether its worker, which has ended with this status, leaves the spool half moved for another one to finish.
    pub(crate) fn is_torn(&self, status: WaitStatus) -> bool {
        match (status, self.task) {
            // It changes no spool.
            (_, Task::Adopt) => false,
            (WaitStatus::Exited(_, code), _) if [0, i32::from(NOT_OPENED)].contains(&code) => false,
            (WaitStatus::Exited(_, code), _) if code == i32::from(NOT_FINISHED) => true,
            (_, Task::Serve) => self.update == Progress::Begun,
            (_, Task::Finish { .. }) => self.update != Progress::Finished,
        }
    }

    /// What kind of process its worker is.
    pub(crate) fn role(&self) -> Role {
        role(self.task)
    }

    /// Whether its spool is this one, in this directory.
    pub(crate) fn is_at(&self, directory: &Path, spool: &UserName) -> bool {
        self.directory == directory && self.spool == *spool
    }

    /// The dotlock that is to be removed when worker `pid` has gone.
    pub(crate) fn left_behind(&self, pid: u32) -> Option<Dotlock> {
        Some(Dotlock {
            directory: self.directory.clone(),
            spool: self.spool.clone(),
            pid,
            file: self.dotlock?,
            uid: self.account.uid,
            gid: self.lock_gid,
        })
    }
}

/// Why a grant became no worker.
#[derive(Debug)]
pub(crate) enum NoWorker {
    /// Its user has as many sessions as a user may have.
    TooMany,
    /// popward-adopt works for another session of this user.
    Adopting,
    /// There is a session with what was their spool, before a reload or by another source of accounts.
    Elsewhere,
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
            Self::TooMany => out.write_str("as many sessions as a user may have"),
            Self::Adopting => out.write_str("popward-adopt works for another session of theirs"),
            Self::Elsewhere => out.write_str("a session with what was their spool lasts"),
            Self::Account(why) => out.write_str(why),
            Self::Spool(error) => write!(out, "spool.path: {error}"),
            Self::State(error) => write!(out, "state directory: {error}"),
            Self::Start(errno) => write!(out, "worker not started: {errno}"),
        }
    }
}

/// A worker that was started.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) log: OwnedFd,
    pub(crate) channel: Channel<MonitorToWorker, WorkerToMonitor>,
    pub(crate) session: Session,
}

/// Checks an account again: auth is trusted with passwords, not with who may be whom.
fn permitted(config: &Config, account: &Account) -> Result<(), NoWorker> {
    let may = &config.auth.admission;
    let within = (may.first_uid..=may.last_uid).contains(&account.uid);
    if account.uid == 0 || !within {
        return Err(NoWorker::Account("user id out of the configured range"));
    }
    if account.gid == 0 {
        return Err(NoWorker::Account("root's group"));
    }
    if config.accounts.is_none() && account.uid != nix::unistd::geteuid().as_raw() {
        return Err(NoWorker::Account(
            "another user, and the monitor is not root",
        ));
    }
    Ok(())
}

fn role(task: Task) -> Role {
    match task {
        Task::Adopt => Role::Adopt,
        Task::Serve | Task::Finish { .. } => Role::Worker,
    }
}

/// Decides between a session and an adoption, and returns the path of the state directory, if the
/// process gets one. `adopted`: popward-adopt has worked for this session.
///
/// Nothing but an adoption makes a state directory while the user's mail waits for its names. With a
/// state directory, the user would not be adopted any more.
fn task_and_state(
    state: &StateRoot,
    (account, own): (&Account, &Settings),
    task: Task,
    adopted: bool,
) -> Result<(Task, Option<PathBuf>), StateError> {
    let (user, uid, gid) = (&account.name, account.uid, account.gid);
    let is_new = !state.has(user);
    match task {
        Task::Serve if is_new && !own.spool.adopt.as_slice().is_empty() => {
            if adopted {
                return Ok((task, None));
            }
            let draft = state.draft_of(user, uid, gid)?;
            Ok((Task::Adopt, Some(draft)))
        }
        Task::Finish { .. } if is_new => Ok((task, None)),
        task => Ok((task, Some(state.of(user, uid, gid)?))),
    }
}

/// Starts popward-adopt or a worker for an account, by these settings. The task of a new session is
/// [`Task::Serve`]. It becomes [`Task::Adopt`] for a user who has no state directory, if `adopt.from`
/// is configured. `socket` is the worker's end of the session's socket, if popward-adopt had it
/// before.
pub(crate) fn start(
    config: &Config,
    nursery: &mut Nursery,
    state: &StateRoot,
    session: SessionId,
    (account, own): (&Account, &Settings),
    task: Task,
    socket: Option<OwnedFd>,
) -> Result<Started, NoWorker> {
    permitted(config, account)?;
    let (directory, spool) = spool::place(&own.spool, account).map_err(NoWorker::Spool)?;
    let (task, state) =
        task_and_state(state, (account, own), task, socket.is_some()).map_err(NoWorker::State)?;
    let state = state.map(|path| AbsolutePath::try_from(path.to_string_lossy().into_owned()));
    let state = state.transpose().map_err(NoWorker::Spool)?;
    let lock_group = config.accounts.and(own.spool.group);
    let groups: Vec<u32> = if config.accounts.is_some() {
        let groups = account.groups.as_slice().iter().copied();
        groups.filter(|gid| *gid != 0).collect()
    } else {
        // Nobody but root can give groups up.
        confine::groups().map_err(|_| NoWorker::Account("this process's groups"))?
    };
    let identity = config.accounts.map(|_| ChildIdentity {
        uid: account.uid,
        gid: account.gid,
        effective_gid: lock_group.unwrap_or(account.gid),
        groups: groups.clone(),
        keep_chroot: false,
    });
    let (front_end, worker_end) = if let Some(worker_end) = socket {
        (None, worker_end)
    } else {
        let (front_end, worker_end) = socket_pair().map_err(NoWorker::Start)?;
        (Some(front_end), worker_end)
    };
    let shown = format!("{SESSION_ARGUMENT}{session}");
    let (child, sockets) = nursery
        .start(
            config,
            (role(task), &[role(task).executable(), &shown]),
            identity.as_ref(),
            &[worker_end.as_fd()],
        )
        .map_err(NoWorker::Start)?;
    let job = Job {
        version: popward_proto::VERSION,
        session,
        task,
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        groups: List::try_from(groups).map_err(|_| NoWorker::Account("too many groups"))?,
        spool_directory: directory.clone(),
        spool_name: spool.clone(),
        state_directory: state,
        host: config.host.clone(),
        locks: own.spool.locks,
        adopt: own.spool.adopt.clone(),
        hide: own.spool.hide.clone(),
    };
    let Sockets { control, log } = sockets;
    let channel = Channel::new(control, JobPhase::Working);
    // The first packet of an empty socket never waits. Should it fail, the worker finds its channel closed and ends,
    // and the front its session.
    let _ = channel
        .set_nonblocking()
        .map_err(ChannelError::System)
        .and_then(|()| channel.send(&MonitorToWorker::Job(job)));
    let session = Session {
        id: session,
        account: account.clone(),
        settings: own.clone(),
        directory: directory.as_path().to_owned(),
        spool,
        lock_gid: lock_group.unwrap_or(account.gid),
        dotlock: match task {
            Task::Serve | Task::Adopt => None,
            Task::Finish { dotlock } => dotlock,
        },
        task,
        update: Progress::None,
        finishers: 0,
        front_end,
        worker_end: (task == Task::Adopt).then_some(worker_end),
    };
    Ok(Started {
        child,
        log,
        channel,
        session,
    })
}
