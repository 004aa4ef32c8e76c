//! Runs the real worker on a spool of its own. This plays the monitor and the front, and checks
//! what they would see. Only the spool's bytes, the answers and the log count: nothing here knows
//! how an update works.
//!
//! `worker` is one process and its sockets. `trace` interferes with it at a system call. `crash`
//! looks at what is left then.

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

/// The worker's user id if the tests run as root, because the worker refuses to be root.
const USER: u32 = 64411;

/// The executable.
const BUILT: &str = env!("CARGO_BIN_EXE_popward-worker");

/// The spool's name.
pub const NAME: &str = "alice";

/// Writes to standard error past the test runner: what was done, or what was skipped and why.
pub fn say(what: &str) {
    let line = format!("{what}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The user that the worker runs as.
#[derive(Debug, Clone)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// How the worker becomes that user. `None`: it is the user of this process.
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

/// Everything that a crash leaves: the spool's bytes, and the files of the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub spool: Vec<u8>,
    pub state: BTreeMap<String, Vec<u8>>,
}

impl Snapshot {
    /// A spool with an empty state directory.
    pub fn fresh(spool: &[u8]) -> Self {
        Self {
            spool: spool.to_vec(),
            state: BTreeMap::new(),
        }
    }

    /// Whether the next session finds the same state. The index is left out: its stamps differ from
    /// run to run, and a worker believes only what it can prove (promise P4).
    pub fn is_like(&self, other: &Self) -> bool {
        let files = |of: &Self| of.state.keys().filter(|name| *name != "index").count();
        let same = |(name, bytes): (&String, &Vec<u8>)| {
            name == "index" || other.state.get(name) == Some(bytes)
        };
        self.spool == other.spool && files(self) == files(other) && self.state.iter().all(same)
    }
}

/// A spool and a state directory that are used again and again. A journal knows its spool by the
/// inode, so a state must be put back into the same file. Everything is removed when this is
/// dropped.
#[derive(Debug)]
pub struct Desk {
    /// A small file system for the state directory. Fields are dropped in order, so it is unmounted
    /// before its directory is removed.
    small: Option<SmallDisk>,
    directory: tempfile::TempDir,
    /// Where the executable lies. `None`: where it was built.
    executable: Option<tempfile::TempDir>,
    pub owner: Owner,
}

impl Desk {
    pub fn new() -> Self {
        // In memory, because tests sync thousands of times. Elsewhere, if that is not possible.
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

    /// Appends a message, as another program does that has the locks.
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

    /// Puts everything back as in `snapshot`. The spool keeps its inode.
    pub fn restore(&self, snapshot: &Snapshot) {
        for entry in fs::read_dir(self.state()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, bytes) in &snapshot.state {
            let path = self.state().join(name);
            // The room of a removed file may come back a moment after the last process that used it
            // has ended.
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

    /// Removes a dead worker's dotlock as the monitor does: the file with the device and inode that
    /// the worker told. After that, nothing of the dead worker may block another process.
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
        // A draft that the worker had not told of blocks nobody, because no other process uses its
        // name.
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

/// A file system with room for a reserve and little more, so that an update takes many pieces.
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

/// Copies the executable to where another user can run it. The directory in which it was built may
/// be closed to others.
fn executable() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    open_to_all(directory.path());
    let to = directory.path().join("popward-worker");
    if fs::hard_link(BUILT, &to).is_err() {
        // Another process copies it. If this process had it open for writing, a child of another
        // thread could inherit that descriptor, and then the file cannot be executed.
        let copied = Command::new("cp").arg(BUILT).arg(&to).status().unwrap();
        assert!(copied.success());
    }
    directory
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Waits until a child is no longer a copy of this process.
fn await_exec(pid: nix::unistd::Pid) {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    while of(&pid.to_string()) == of("self") {
        std::thread::yield_now();
    }
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
    /// The approximate size of each message.
    pub bytes: usize,
}

/// A message as it lies in a spool. No two messages have a line or a length in common, so that
/// bytes in a wrong place show.
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

/// A spool, and which of its messages are deleted.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// The numbers of the deleted messages.
    pub deletions: Vec<u32>,
    /// Whether its state directory is on a small disk.
    pub cramped: bool,
    messages: usize,
    /// The spool with nothing deleted.
    before: Vec<u8>,
    /// The spool with all deletions done.
    after: Vec<u8>,
}

/// What became of the deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it was.
    Kept,
    /// All deletions are done.
    Done,
}

impl Case {
    /// The five ways of deleting messages.
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

    /// The same cases on a disk on which the journal has little room. Cases that delete up to the
    /// end are left out.
    pub fn cramped(size: Size) -> Vec<Self> {
        let mut cases = Self::all(size);
        // Deleting up to the end needs no journal.
        cases.retain(|case| !case.before.starts_with(&case.after));
        for case in &mut cases {
            case.cramped = true;
            case.name += ", a small disk";
        }
        cases
    }

    /// The spool with this outcome.
    pub fn spool(&self, outcome: Outcome) -> &[u8] {
        match outcome {
            Outcome::Kept => &self.before,
            Outcome::Done => &self.after,
        }
    }

    /// How many messages the spool has with this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Kept => self.messages,
            Outcome::Done => self.messages - self.deletions.len(),
        }
    }

    /// Which outcome `bytes` have, with `delivered` appended. Panics if they have neither.
    pub fn outcome(&self, bytes: &[u8], delivered: &[u8], when: &str) -> Outcome {
        self.either(bytes, delivered)
            .unwrap_or_else(|| panic!("{}", self.neither(bytes, delivered, when)))
    }

    /// Which outcome `bytes` have, with `delivered` appended, if they have one.
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

/// Calls `each` for all of `cases`, on all processors.
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
