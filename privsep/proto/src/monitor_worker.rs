//! monitor ↔ worker: one job, and the dotlock that the monitor removes when the worker has gone.

use crate::account::{GROUPS_MAX, SessionId};
use crate::bounded::{AbsolutePath, List, Text, UserName};
use crate::permit::{Message, Permit, any, once};
use serde::{Deserialize, Serialize};

/// What a worker is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// [`crate::VERSION`].
    pub version: u32,
    /// The session, for the log.
    pub session: SessionId,
    /// What is to be done.
    pub task: Task,
    /// The account, for the log and for the spool's owner in it.
    pub user: UserName,
    /// The account's user id: the worker runs as it and the spool belongs to it, or the worker ends.
    pub uid: u32,
    /// Its primary group id.
    pub gid: u32,
    /// The most supplementary groups that the worker may have.
    pub groups: List<u32, GROUPS_MAX>,
    /// The directory in which the spool lies.
    pub spool_directory: AbsolutePath,
    /// The spool's name in it. The dotlock's is this with `.lock` behind.
    pub spool_name: UserName,
    /// The user's state directory; without one a spool can be read, and only deleted from at its end.
    pub state_directory: Option<AbsolutePath>,
    /// This host's name, as its locks say it.
    pub host: Text<64>,
    /// Which locks are to be taken.
    pub locks: LockSettings,
    /// For [`Task::Adopt`]: a message gets its name from the first of these schemes that has one for it, or natively.
    pub adopt: List<Scheme, SCHEMES_MAX>,
    /// Header fields that clients are not shown, by name.
    pub hide: List<Text<16>, HIDDEN_MAX>,
}

/// Most fields that can be hidden.
pub const HIDDEN_MAX: usize = 9;

/// Most schemes in a list.
pub const SCHEMES_MAX: usize = 8;

/// Another server's UIDLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// The X-UIDL header (Qpopper, mailutils).
    XUidl,
    /// popa3d's.
    Popa3d,
    /// solid-pop3d's.
    SolidPop3d,
    /// tpop3d's.
    Tpop3d,
    /// Dovecot's `%m`.
    DovecotMd5,
}

/// What a worker is to do with the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Serve it.
    Serve,
    /// Pin the UIDLs that another server gave to its messages, and end. This is popward-adopt's task. Only a failure is
    /// answered over the session's socket, because a worker answers there afterwards.
    Adopt,
    /// Finish an update that another worker did not, and end. Nobody is at the other end of the session's socket.
    Finish {
        /// The dotlock that the other one left: device and inode. It is taken over, so that nobody comes in between.
        dotlock: Option<(u64, u64)>,
    },
}

/// Which locks a worker takes: all of these, or none and `[IN-USE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSettings {
    /// `SPOOL.lock` beside the spool.
    pub dotlock: bool,
    /// An open file description lock over the whole file (`F_OFD_SETLK`), which fcntl and lockf locks respect.
    pub fcntl: bool,
    /// flock(2), on local file systems only.
    pub flock: bool,
    /// How long to try, in milliseconds.
    pub timeout_ms: u32,
}

/// What the monitor tells a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorToWorker {
    /// The job. There is nothing else to tell: the end of this channel ends the session without update.
    Job(Job),
}

/// What a worker tells the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToMonitor {
    /// A file that is about to be made the dotlock. It comes before the link, so that no instant is without
    /// somebody who knows whose lock it is. Another try brings another one; the last counts. Device 0, inode 0: there is
    /// none now.
    Dotlock {
        /// The device that it lies on.
        device: u64,
        /// Its inode.
        inode: u64,
    },
    /// An update begins, of its own session or one that was left. If the worker ends now without having done it, somebody has to finish it.
    Updates,
    /// An update that another worker did not finish is done.
    Finished,
}

/// A worker's phases, as it reads from the monitor; the monitor's, as it reads from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPhase {
    /// The job is being given.
    Given,
    /// The worker works.
    Working,
}

/// A worker's exit status where it could not open the maildrop, as it told the front; or where the spool is not what an update
/// that another one left was made for. Nothing is amiss with it.
pub const NOT_OPENED: u8 = 3;

/// Its exit status where an update that another one left could not be finished: the spool may be half moved.
pub const NOT_FINISHED: u8 = 4;

/// The name in a state directory of an update that is to be finished.
pub const JOURNAL: &str = "journal";

/// The dotlock's name for a spool's name.
pub fn dotlock_name(spool: &UserName) -> String {
    format!("{spool}.lock")
}

/// The name of the file that a worker makes and then links to the dotlock's name.
pub fn dotlock_draft_name(spool: &UserName, pid: u32) -> String {
    format!(".{spool}.{pid}.lock")
}

impl Message for MonitorToWorker {
    const LIMIT: usize = 6144;
    type Phase = JobPhase;
    fn permit(&self) -> Permit<JobPhase> {
        match self {
            Self::Job(_) => once("Job", &[JobPhase::Given]),
        }
    }
}

impl Message for WorkerToMonitor {
    const LIMIT: usize = 32;
    type Phase = JobPhase;
    fn permit(&self) -> Permit<JobPhase> {
        match self {
            Self::Dotlock { .. } => any("Dotlock", &[JobPhase::Working]),
            Self::Updates => any("Updates", &[JobPhase::Working]),
            Self::Finished => once("Finished", &[JobPhase::Working]),
        }
    }
}
