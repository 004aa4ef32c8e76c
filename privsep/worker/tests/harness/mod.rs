//! The real worker on a spool of its own: what a monitor and a front would say to it is said here, and what they would
//! see is looked at. Nothing here knows how an update is done: only the spool's bytes, the answers and the log count.
//!
//! `worker` is one process and its sockets, `trace` interferes with it at a system call, `crash` is what is left then.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    reason = "each test uses a part; a test may fail"
)]

pub mod crash;
pub mod trace;
pub mod worker;

use nix::unistd::{Gid, Uid};
use popward_sys::spawn::ChildIdentity;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Who the worker is under root: it refuses to be root itself.
const USER: u32 = 64411;

/// The executable.
const BUILT: &str = env!("CARGO_BIN_EXE_popward-worker");

/// The spool's name.
pub const NAME: &str = "alice";

/// Says past the test runner what was done, or that something was skipped and why.
pub fn say(what: &str) {
    let line = format!("{what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Who the worker is.
#[derive(Debug, Clone)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// How it gets there, where that is another user than this one.
    pub identity: Option<ChildIdentity>,
}

impl Owner {
    fn current() -> Self {
        if !Uid::effective().is_root() {
            return Self {
                uid: Uid::effective().as_raw(),
                gid: Gid::effective().as_raw(),
                groups: popward_sys::confine::groups().unwrap(),
                identity: None,
            };
        }
        Self {
            uid: USER,
            gid: USER,
            groups: Vec::new(),
            identity: Some(ChildIdentity {
                uid: USER,
                gid: USER,
                effective_gid: USER,
                groups: Vec::new(),
                keep_chroot: false,
            }),
        }
    }
}

/// All that a crash leaves behind: the spool's bytes, and whatever is in the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub spool: Vec<u8>,
    pub state: BTreeMap<String, Vec<u8>>,
}

impl Snapshot {
    /// A spool, and nothing known about it.
    pub fn fresh(spool: &[u8]) -> Self {
        Self {
            spool: spool.to_vec(),
            state: BTreeMap::new(),
        }
    }

    /// Whether the next session finds the same. The index counts for nothing: it holds stamps, which differ from run
    /// to run, and is believed only as far as it is proved (promise P4).
    pub fn is_like(&self, other: &Self) -> bool {
        let files = |of: &Self| of.state.keys().filter(|name| *name != "index").count();
        let same = |(name, bytes): (&String, &Vec<u8>)| {
            name == "index" || other.state.get(name) == Some(bytes)
        };
        self.spool == other.spool && files(self) == files(other) && self.state.iter().all(same)
    }
}

/// A spool and a state directory, used again and again: a journal knows its spool by the inode, so what a crash left
/// can only be put back into the same file. All of it goes when it is dropped.
#[derive(Debug)]
pub struct Desk {
    /// A small file system for the state. Fields are dropped in order: it is unmounted before its directory is removed.
    small: Option<SmallDisk>,
    directory: tempfile::TempDir,
    /// Where the executable lies, if not where it was built.
    executable: Option<tempfile::TempDir>,
    pub owner: Owner,
}

impl Desk {
    pub fn new() -> Self {
        // In memory, since it syncs thousands of times; where that is not to be had, elsewhere.
        let memory = Path::new("/dev/shm");
        let directory = tempfile::tempdir_in(memory)
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let owner = Owner::current();
        let desk = Self {
            directory,
            executable: owner.identity.is_some().then(executable),
            small: None,
            owner,
        };
        open_to_all(desk.directory.path());
        for path in [desk.mail(), desk.state()] {
            fs::create_dir(&path).unwrap();
            desk.give(&path, 0o700);
        }
        fs::write(desk.spool(), b"").unwrap();
        desk.give(&desk.spool(), 0o600);
        desk
    }

    /// The desk for a case.
    pub fn of(case: &Case) -> Self {
        let mut desk = Self::new();
        if case.cramped && Uid::effective().is_root() {
            desk.small = Some(SmallDisk::at(&desk.state()));
            desk.give(&desk.state(), 0o700);
        } else if case.cramped {
            say("skipped: an update of many pieces: only root can mount a small disk");
        }
        desk
    }

    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        if self.owner.identity.is_some() {
            chown(path, Some(self.owner.uid), Some(self.owner.gid)).unwrap();
        }
    }

    pub fn mail(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn spool(&self) -> PathBuf {
        self.mail().join(NAME)
    }

    pub fn executable(&self) -> PathBuf {
        let moved = self.executable.as_ref();
        moved.map_or(BUILT.into(), |to| to.path().join("popward-worker"))
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.spool()).unwrap()
    }

    /// What another program does that has the locks: it appends.
    pub fn deliver(&self, message: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.spool()).unwrap();
        file.write_all(message).unwrap();
    }

    pub fn snapshot(&self) -> Snapshot {
        let files = fs::read_dir(self.state()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        });
        Snapshot {
            state: files.collect(),
            spool: self.bytes(),
        }
    }

    /// Puts everything back as it was then, the spool in its own inode.
    pub fn restore(&self, snapshot: &Snapshot) {
        for entry in fs::read_dir(self.state()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in &snapshot.state {
            let path = self.state().join(name);
            // The room of a file that was removed may come back only a moment after its last user's end.
            let until = Instant::now() + Duration::from_secs(10);
            while let Err(error) = fs::write(&path, bytes) {
                assert!(Instant::now() < until, "{name}: {error}");
                std::thread::yield_now();
            }
            self.give(&path, 0o600);
        }
        fs::write(self.spool(), &snapshot.spool).unwrap();
        for name in self.beside_the_spool() {
            fs::remove_file(self.mail().join(name)).unwrap();
        }
    }

    /// Removes a dead worker's lock as the monitor does: what has the device and inode that the worker told of. After
    /// that nothing of it may stand in anybody's way.
    pub fn clean_up(&self, told: Option<(u64, u64)>, pid: i32) {
        let lock = format!("{NAME}.lock");
        let draft = format!(".{NAME}.{pid}.lock");
        for name in [&draft, &lock] {
            let path = self.mail().join(name);
            if let Ok(status) = fs::symlink_metadata(&path) {
                if told == Some((status.dev(), status.ino())) {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        // A draft that it had not yet told of blocks nobody: no other process has its name.
        let mut left = self.beside_the_spool();
        left.retain(|name| *name != draft);
        assert!(left.is_empty(), "left beside the spool: {left:?}");
    }

    fn beside_the_spool(&self) -> Vec<String> {
        let entries = fs::read_dir(self.mail()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != NAME);
        names
    }
}

/// A file system with room for a reserve and little else, so that an update takes many pieces.
#[derive(Debug)]
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path) -> Self {
        let flags = nix::mount::MsFlags::empty();
        let size = Some("size=40k");
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, size).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The executable where another user reaches it, which need not be so where it was built.
fn executable() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    open_to_all(directory.path());
    let to = directory.path().join("popward-worker");
    if fs::hard_link(BUILT, &to).is_err() {
        // By another process: what one thread has open for writing, a child that another one starts meanwhile has too, and
        // as long as anybody has, it cannot be executed.
        let copied = Command::new("cp").arg(BUILT).arg(&to).status().unwrap();
        assert!(copied.success());
    }
    directory
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The null device.
pub fn null() -> File {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
}

/// How large a spool is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub messages: u32,
    /// Of each message, about.
    pub bytes: usize,
}

/// A message as it lies in a spool. No two have a line in common, nor a length: whatever lands in a wrong place shows.
pub fn message(number: u32, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        "From sender{number}@example.org Mon Nov 23 10:00:{:02} 2026\nMessage-ID: <{number}@example.org>\nSubject: {number}\n\n",
        number % 60
    );
    let length = bytes + 37 * number as usize % 400;
    let mut line = 0;
    while text.len() < length {
        line += 1;
        text.push_str(&format!(
            "message {number}, line {line}, of {length} bytes\n"
        ));
    }
    text.push('\n');
    text.into_bytes()
}

/// A spool, and what of it is deleted.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Message numbers.
    pub deletions: Vec<u32>,
    /// Whether its state directory is on a small disk.
    pub cramped: bool,
    messages: usize,
    /// The spool with nothing deleted.
    before: Vec<u8>,
    /// With all deletions done.
    after: Vec<u8>,
}

/// What became of the deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it was.
    Kept,
    /// They are done.
    Done,
}

impl Case {
    /// The five ways in which messages are deleted.
    pub fn all(size: Size) -> Vec<Self> {
        let count = size.messages;
        let middle = count / 2;
        let ways = [
            ("the front", vec![1, 2]),
            ("the middle", (middle..middle + 3).collect()),
            ("the end", (count - 2..=count).collect()),
            ("everything", (1..=count).collect()),
            ("every second", (2..=count).step_by(2).collect()),
        ];
        let spool = |gone: &[u32]| {
            let kept = (1..=count).filter(|number| !gone.contains(number));
            let messages: Vec<_> = kept.map(|number| message(number, size.bytes)).collect();
            messages.concat()
        };
        let cases = ways.map(|(name, deletions)| Self {
            name: format!("{name} of {count} messages of {} bytes", size.bytes),
            messages: count as usize,
            before: spool(&[]),
            after: spool(&deletions),
            deletions,
            cramped: false,
        });
        cases.into()
    }

    /// The same, where the journal has room for little at once.
    pub fn cramped(size: Size) -> Vec<Self> {
        let mut cases = Self::all(size);
        // What is deleted up to the end needs no journal.
        cases.retain(|case| !case.before.starts_with(&case.after));
        for case in &mut cases {
            case.cramped = true;
            case.name += ", a small disk";
        }
        cases
    }

    /// The spool then.
    pub fn spool(&self, outcome: Outcome) -> &[u8] {
        match outcome {
            Outcome::Kept => &self.before,
            Outcome::Done => &self.after,
        }
    }

    /// How many messages there are then.
    pub fn count(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Kept => self.messages,
            Outcome::Done => self.messages - self.deletions.len(),
        }
    }

    /// Which of the two it is, with `delivered` behind it. Panics where it is neither.
    pub fn outcome(&self, bytes: &[u8], delivered: &[u8], when: &str) -> Outcome {
        self.either(bytes, delivered)
            .unwrap_or_else(|| panic!("{}", self.neither(bytes, delivered, when)))
    }

    /// Which of the two it is, if it is one of them.
    pub fn either(&self, bytes: &[u8], delivered: &[u8]) -> Option<Outcome> {
        let is = |outcome: &Outcome| bytes.strip_prefix(self.spool(*outcome)) == Some(delivered);
        [Outcome::Kept, Outcome::Done].into_iter().find(is)
    }

    fn neither(&self, bytes: &[u8], delivered: &[u8], when: &str) -> String {
        let differs = |outcome| {
            let whole = [self.spool(outcome), delivered].concat();
            let place = bytes.iter().zip(&whole).position(|(a, b)| a != b);
            let place = place.unwrap_or(bytes.len().min(whole.len()));
            format!(
                "{outcome:?} has {} bytes, first other at {place}",
                whole.len()
            )
        };
        format!(
            "{}, {when}: the spool is neither: it has {} bytes; {}; {}",
            self.name,
            bytes.len(),
            differs(Outcome::Kept),
            differs(Outcome::Done)
        )
    }
}

/// Does `each` for all of `cases`, on all processors.
pub fn spread<C: Sync, R: Send>(cases: &[C], each: impl Fn(&C) -> R + Sync) -> Vec<R> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.push(each(case));
        }
        results
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}
