//! sessions ↔ worker: one job for the worker, and the dotlock that must be removed when the worker
//! has ended.

use crate::account::{GROUPS_MAX, SessionId};
use crate::bounded::{AbsolutePath, List, Text, UserName};
use crate::permit::{Message, Permit, once};
use serde::{Deserialize, Serialize};

/// The job of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// [`crate::VERSION`].
    pub version: u32,
    /// The session, for the log.
    pub session: SessionId,
    /// What the worker must do.
    pub task: Task,
    /// The account's name.
    pub user: UserName,
    /// The account's user id. The worker ends unless it runs as this user and the spool belongs to
    /// it.
    pub uid: u32,
    /// Its primary group id.
    pub gid: u32,
    /// The most supplementary groups that the worker may have.
    pub groups: List<u32, GROUPS_MAX>,
    /// The directory in which the spool lies.
    pub spool_directory: AbsolutePath,
    /// The spool's name in that directory. The dotlock's name is this name with `.lock` appended.
    pub spool_name: UserName,
    /// The user's state directory. `None` for a user who has none, in two cases. After
    /// popward-adopt found no spool, the worker serves an empty maildrop, and refuses a spool that
    /// came meanwhile. [`Task::Finish`] then only removes a dotlock that a crash left.
    pub state_directory: Option<AbsolutePath>,
    /// This host's name, for the contents of dotlocks.
    pub host: Text<64>,
    /// The locks to take.
    pub locks: LockSettings,
    /// The schemes of `adopt.from`, for [`Task::Adopt`]. A message gets its name from the first of
    /// these that has one for it, or a native name.
    pub adopt: List<Scheme, SCHEMES_MAX>,
    /// The names of header fields that clients do not get.
    pub hide: List<Text<16>, HIDDEN_MAX>,
}

/// Most hidden header fields.
pub const HIDDEN_MAX: usize = 9;

/// Most schemes in a list.
pub const SCHEMES_MAX: usize = 8;

/// How another server makes UIDLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// The value of the X-UIDL header. Qpopper writes it. mailutils writes it from its second
    /// session with a message on. Not every message has one.
    XUidl,
    /// popa3d 1.0.3: half of an MD5 of the header lines that a delivery writes.
    Popa3d,
    /// solid-pop3d 0.15: an MD5 of Received, Date, Message-Id and Subject.
    SolidPop3d,
    /// tpop3d: an MD5 of the first 512 bytes.
    Tpop3d,
    /// Dovecot 2 with `pop3_uidl_format = %m`: an MD5 of the values of the fields that a delivery
    /// writes.
    DovecotMd5,
    /// Dovecot 2 by default, `%08Xu%08Xv`: UID and UIDVALIDITY, as they stand in the spool. Not
    /// every message has them.
    Dovecot,
    /// UW ipop3d, and Dovecot with `%08Xv%08Xu`: the same, UIDVALIDITY first.
    Uw,
}

/// What a worker does with the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Serve it.
    Serve,
    /// Pin the UIDLs that another server gave to the messages, then end. This is the task of
    /// popward-adopt. It answers only a failure over the session's socket, because a worker answers
    /// there afterwards.
    Adopt,
    /// Finish the update of a worker that died, then end. No front is at the other end of the
    /// session's socket.
    Finish {
        /// The dotlock that the dead worker left: device and inode. This worker takes it over, so
        /// that no other program gets the lock in between.
        dotlock: Option<(u64, u64)>,
    },
    /// Remove the dotlock of a worker that has ended, then end. It takes no lock and reads no mail.
    Free {
        /// The process id of that worker. The name of the lock's draft contains it.
        pid: u32,
        /// The file that that worker told of: device and inode.
        dotlock: (u64, u64),
    },
}

/// The locks of a worker. It takes all of them, or none and answers `[IN-USE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSettings {
    /// `SPOOL.lock` beside the spool.
    pub dotlock: bool,
    /// An open file description lock on the whole file (`F_OFD_SETLK`). fcntl and lockf locks
    /// conflict with it.
    pub fcntl: bool,
    /// flock(2), on local file systems only.
    pub flock: bool,
    /// How long to try, in milliseconds.
    pub timeout_ms: u32,
}

/// Messages from sessions to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsToWorker {
    /// The job. It is the only message. If this channel ends, the session ends without an update.
    Job(Job),
}

/// Messages from a worker to sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToSessions {
    /// The file that will become the dotlock. It comes before the link, so sessions knows each
    /// lock's owner before the lock exists. Each new try sends a new one, and the last counts.
    /// Device 0 and inode 0: there is no dotlock now.
    Dotlock {
        /// Its device.
        device: u64,
        /// Its inode.
        inode: u64,
    },
    /// An update begins: that of this session, or one that a dead worker left. If this worker dies
    /// before the update's end, another worker must finish it.
    Updates,
    /// The update of a dead worker is finished.
    Finished,
}

/// The phases of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPhase {
    /// The worker waits for its job.
    Given,
    /// The worker works.
    Working,
}

/// The exit status of a worker that did not open the maildrop and has told the front why. Also of
/// one that found another spool than a dead worker's update was made for. In both cases the spool
/// is intact.
pub const NOT_OPENED: u8 = 3;

/// The exit status of a worker that could not finish a dead worker's update. The spool may be only
/// half rewritten.
pub const NOT_FINISHED: u8 = 4;

/// The exit status of popward-adopt if there is no spool. Nothing is adopted. A worker serves this
/// session without a state directory, so the next login tries to adopt again.
pub const NO_SPOOL: u8 = 5;

/// What stands before the user's name in the name of the directory that popward-adopt works in.
/// When popward-adopt is done, sessions renames this directory to the user's state directory.
pub const ADOPTING: &str = ".adopting.";

/// The name of the journal in a state directory. It holds an update that must be finished.
pub const JOURNAL: &str = "journal";

/// What stands before the session in a worker's command line, so that `ps` and the log of another
/// session can name it. The worker itself reads its job, not its command line.
pub const SESSION_ARGUMENT: &str = "session=";

/// The name of a spool's dotlock.
pub fn dotlock_name(spool: &UserName) -> String {
    format!("{spool}.lock")
}

/// The name of the draft: the file that the worker with id `pid` makes and then links to the
/// dotlock's name.
pub fn dotlock_draft_name(spool: &UserName, pid: u32) -> String {
    format!(".{spool}.{pid}.lock")
}

impl Message for SessionsToWorker {
    const LIMIT: usize = 6144;
    type Phase = JobPhase;
    fn permit(&self) -> Permit<JobPhase> {
        match self {
            Self::Job(_) => once("Job", &[JobPhase::Given]),
        }
    }
}
