//! A spool and a state directory to test on, and updates with small pieces that can stop in the
//! middle.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test may fail"
)]

use crate::commit::Commit;
use crate::error::UpdateError;
use crate::locks::{LockedSpool, try_lock};
use crate::recovery;
use crate::state::State;
use crate::steps::{Sizes, begin};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use popward_mbox::index::Identity;
use popward_mbox::journal::Stage;
use popward_mbox::pins::Pins;
use popward_mbox::plan::Plan;
use popward_proto::account::{FrontId, SessionId};
use popward_proto::bounded::{AbsolutePath, List, Text, UserName};
use popward_proto::sessions_worker::{Job, LockSettings, Task};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Each desk holds this shared. [`spawn`] holds it alone.
///
/// A test with a desk must not call [`spawn`], because it would wait for itself. Where tests call
/// [`spawn`], no test may have two desks at once.
static DESKS: RwLock<()> = RwLock::new(());

/// A spool and a state directory of its own.
pub struct Desk {
    pub directory: tempfile::TempDir,
    _no_spawn: RwLockReadGuard<'static, ()>,
}

/// Starts a child process while no test has a desk.
///
/// A child has copies of all descriptors until its exec. A lock that another test gives back
/// meanwhile would stay held.
pub fn spawn(command: &mut Command) -> Child {
    let _no_desk = DESKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

impl Desk {
    pub fn new(spool: &[u8]) -> Self {
        Self::within(&std::env::temp_dir(), spool)
    }

    /// A desk in memory, for tests that sync thousands of times.
    pub fn in_memory(spool: &[u8]) -> Self {
        Self::within(Path::new("/dev/shm"), spool)
    }

    fn within(parent: &Path, spool: &[u8]) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        std::fs::create_dir(directory.path().join("state")).unwrap();
        let desk = Self {
            directory,
            _no_spawn: DESKS.read().unwrap_or_else(PoisonError::into_inner),
        };
        desk.put(spool);
        desk
    }

    pub fn spool(&self) -> PathBuf {
        self.directory.path().join("alice")
    }

    pub fn journal(&self) -> PathBuf {
        self.directory.path().join("state/journal")
    }

    pub fn state(&self) -> State {
        State::new(&self.directory.path().join("state"))
    }

    /// Writes the spool, on the same inode.
    pub fn put(&self, bytes: &[u8]) {
        std::fs::write(self.spool(), bytes).unwrap();
    }

    pub fn append(&self, mail: &[u8]) {
        let mut file = std::fs::File::options()
            .append(true)
            .open(self.spool())
            .unwrap();
        std::io::Write::write_all(&mut file, mail).unwrap();
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.spool()).unwrap()
    }

    /// The spool's identity now, except that its length is `length`: the length at which it was
    /// read.
    pub fn seen(&self, length: u64) -> Identity {
        use std::os::unix::fs::MetadataExt;
        let now = std::fs::metadata(self.spool()).unwrap();
        Identity {
            inode: now.ino(),
            length,
            mtime: now.mtime() * 1_000_000_000 + now.mtime_nsec(),
            ctime: now.ctime() * 1_000_000_000 + now.ctime_nsec(),
        }
    }

    /// Locks the spool without a dotlock. The locks end when the value is dropped.
    pub fn lock(&self) -> LockedSpool {
        self.lock_with(false)
    }

    /// Locks the spool. The caller must remove the dotlock, if it asked for one.
    pub fn lock_with(&self, dotlock: bool) -> LockedSpool {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let directory = open(self.directory.path(), flags, Mode::empty()).unwrap();
        let locked = try_lock(&self.job(dotlock), &directory, &mut |_, _| {});
        locked.unwrap().unwrap()
    }

    pub fn job(&self, dotlock: bool) -> Job {
        let path = |path: &Path| AbsolutePath::try_from(path.to_str().unwrap().to_owned()).unwrap();
        let name = || UserName::try_from("alice".to_owned()).unwrap();
        Job {
            version: popward_proto::VERSION,
            session: SessionId::new(FrontId(1), 1),
            task: Task::Serve,
            user: name(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            groups: List::try_from(Vec::new()).unwrap(),
            spool_directory: path(self.directory.path()),
            spool_name: name(),
            state_directory: None,
            host: Text::truncated("here"),
            locks: LockSettings {
                dotlock,
                fcntl: true,
                flock: true,
                timeout_ms: 0,
            },
            adopt: List::try_from(Vec::new()).unwrap(),
            hide: List::try_from(Vec::new()).unwrap(),
        }
    }
}

impl Sizes {
    /// The sizes that tests use.
    pub(crate) const SMALL: Self = Self {
        chunk: 1 << 10,
        piece: 4 << 10,
        gap: 2 << 10,
        cut_look: 100,
        block_max: 512,
    };
}

pub fn message(number: usize, length: usize) -> Vec<u8> {
    let body = "x".repeat(length);
    format!("From a@b Mon Nov 23 10:00:00 2026\nSubject: {number}\n\n{body}\n\n").into_bytes()
}

/// Commits with small pieces, so that a small spool takes many steps.
pub fn commit(commit: Commit<'_>) -> Result<Result<(), UpdateError>, UpdateError> {
    commit.run(Sizes::SMALL, || (), || ())
}

/// Writes the pins that hold after an update, as a commit does before its first step.
pub fn stage_pins(state: &State, pins: Option<&Pins>) {
    crate::commit::stage(state, pins);
}

/// Finishes an update that [`stop_an_update`] left.
pub fn recover(spool: &mut LockedSpool, state: &State) -> Result<bool, UpdateError> {
    recovery::recover(Sizes::SMALL, spool, state, || ())
}

/// Begins an update and stops it after `steps` steps, or at the cut if that comes first. Of the
/// next step's piece, `share` 255ths have moved.
pub fn stop_an_update(
    spool: &mut LockedSpool,
    state: &State,
    plan: &Plan,
    steps: usize,
    share: u8,
) {
    let seen = spool.identity().unwrap();
    let mut update = begin(spool, state, plan, seen, Sizes::SMALL, || ()).unwrap();
    for _ in 0..steps {
        if update.head.stage == Stage::Cut {
            return;
        }
        assert!(!update.step(spool).unwrap());
    }
    update.head.piece = update.head.piece * u64::from(share) / 255;
    match update.head.stage {
        Stage::Direct => update.copy_from_spool(spool).unwrap(),
        Stage::Slot => update.copy_from_slot(spool).unwrap(),
        Stage::Cut => {}
    }
}
