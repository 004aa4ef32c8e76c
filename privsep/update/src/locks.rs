//! The locks of one spool: all of them or none, for the whole session (promise P2). Only locking makes a
//! [`LockedSpool`], and only through it the spool is read or written.

mod holder;
mod stale;

pub use holder::Holder;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, Flock, FlockArg, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use popward_mbox::index::Identity;
use popward_proto::monitor_worker::{Job, Task, dotlock_draft_name, dotlock_name};
use popward_sys::libc;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How often the dotlock is touched, at the most: maildrop breaks one that has stood still for 60 s.
pub const REFRESH: Duration = Duration::from_secs(20);

/// Why a spool was not locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds this lock: try again.
    Busy(&'static str),
    /// Another program put another file in the spool's place just now: try again.
    Replaced,
    /// The spool is nothing that may be served: not a regular file of the user's with one link.
    Unfit(&'static str),
    /// A system call failed.
    System(&'static str, Errno),
}

impl std::fmt::Display for LockError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy(lock) => write!(out, "{lock} is held by another process"),
            Self::Replaced => out.write_str("another program replaces the spool again and again"),
            Self::Unfit(why) => out.write_str(why),
            Self::System(what, errno) => write!(out, "{what}: {errno}"),
        }
    }
}

/// Somebody took or removed the dotlock, or put another file in the spool's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the dotlock was lost, or the spool replaced")
    }
}

impl std::error::Error for Lost {}

impl Lost {
    /// Whether it is why reading or writing the spool failed.
    pub fn is(error: &std::io::Error) -> bool {
        let why = error.get_ref();
        why.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A spool with all its locks.
#[derive(Debug)]
pub struct LockedSpool {
    file: File,
    flock: Option<Flock<File>>,
    dotlock: Option<(File, FileStat)>,
    directory: OwnedFd,
    name: String,
    lock_name: String,
    refreshed: Instant,
}

impl Drop for LockedSpool {
    /// The flock goes with its descriptors in any case. Nix, left to itself, panics where the kernel does not give it back.
    fn drop(&mut self) {
        self.release_flock();
    }
}

/// What is told when there is no dotlock of this worker any more: no file is that. It must be told while the last file that
/// was told is still open, for its inode may be a stranger's dotlock the moment it is not.
const NO_DOTLOCK: (u64, u64) = (0, 0);

/// Tries once to open and lock the spool of `job` in `directory`. `Ok(None)`: there is no spool. `tell` is told the
/// device and inode of a dotlock before it is one, and [`NO_DOTLOCK`] when it was not to be.
pub fn try_lock(
    job: &Job,
    directory: &OwnedFd,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Option<LockedSpool>, LockError> {
    let name = job.spool_name.as_str();
    let flags =
        OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOATIME;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => {
            // Who holds its dotlock may be about to put it back (mailutils takes it away to write it anew): to a client that
            // sees no messages all are new the next time. But a delivery agent waits for a lock that a crash left.
            let lock = dotlock_name(&job.spool_name);
            if job.locks.dotlock {
                stale::remove(job, directory, &lock);
            }
            let found = fstatat(directory, lock.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            if job.locks.dotlock && job.task == Task::Serve && found != Err(Errno::ENOENT) {
                return Err(LockError::Busy("the dotlock of a spool that is not there"));
            }
            // Or it was put back, and the lock taken away, just now.
            if fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
                return Err(LockError::Replaced);
            }
            return Ok(None);
        }
        Err(Errno::ELOOP) => return Err(LockError::Unfit("the spool is a symbolic link")),
        Err(Errno::EPERM) => return Err(LockError::Unfit("the spool belongs to somebody else")),
        Err(Errno::EISDIR) => {
            return Err(LockError::Unfit(
                "the spool is a directory (a Maildir?), not an mbox file",
            ));
        }
        // A socket.
        Err(Errno::ENXIO) => return Err(LockError::Unfit("the spool is not a regular file")),
        Err(errno) => return Err(LockError::System("open the spool", errno)),
    };
    fit(&file, job)?;
    let clone = directory
        .try_clone()
        .map_err(|_| LockError::System("dup", Errno::EMFILE))?;
    let mut locked = LockedSpool {
        file,
        flock: None,
        dotlock: None,
        directory: clone,
        name: name.to_owned(),
        lock_name: dotlock_name(&job.spool_name),
        refreshed: Instant::now(),
    };
    let mut succeeds = false;
    if job.locks.dotlock {
        locked.dotlock = taken_over(job, directory);
        succeeds = locked.dotlock.is_some();
        if !succeeds {
            locked.dotlock = Some(dotlock(job, directory, tell)?);
        }
    }
    let taken = locked
        .lock_file(job)
        .and_then(|()| fit(&locked.file, job))
        .and_then(|_| locked.still_there());
    if let Err(error) = taken {
        // A lock that another worker left stays where it is, so that nobody comes in between; the next try finds it.
        if !succeeds && locked.unlock() {
            tell(NO_DOTLOCK.0, NO_DOTLOCK.1);
        }
        return Err(error);
    }
    Ok(Some(locked))
}

/// Who holds the spool's locks, after [`try_lock`] found one of them held.
pub fn holder(job: &Job, directory: &OwnedFd) -> Holder {
    Holder::of(job, directory)
}

/// How long to wait before another try: 100 to 500 ms at random. Two that started together must not meet again: their
/// process ids and clocks differ.
pub fn pause() -> Duration {
    let now = std::time::UNIX_EPOCH.elapsed();
    let nanos = now.map_or(0, |time| u64::from(time.subsec_nanos()));
    Duration::from_millis(100 + u64::from(std::process::id()).wrapping_add(nanos) % 400)
}

fn fit(file: &File, job: &Job) -> Result<FileStat, LockError> {
    let status = fstat(file).map_err(|errno| LockError::System("fstat", errno))?;
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(LockError::Unfit("the spool is not a regular file"));
    }
    if status.st_uid != job.uid {
        return Err(LockError::Unfit("the spool belongs to somebody else"));
    }
    match status.st_nlink {
        1 => Ok(status),
        // Replaced since it was opened: mailutils writes a new file and renames it. The next try opens that one.
        0 => Err(LockError::Replaced),
        _ => Err(LockError::Unfit("the spool has more than one link")),
    }
}

/// The dotlock of another worker that this one succeeds, made this one's by its text. `None`: there is none of it (any more).
fn taken_over(job: &Job, directory: &OwnedFd) -> Option<(File, FileStat)> {
    let Task::Finish {
        dotlock: Some(left),
    } = job.task
    else {
        return None;
    };
    let name = dotlock_name(&job.spool_name);
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name.as_str(), flags, Mode::empty()).ok()?);
    let status = fstat(&file).ok()?;
    if (status.st_dev, status.st_ino) != left {
        return None;
    }
    let text = format!("{}:{}", std::process::id(), job.host);
    // Without room for it, or with another's text, it is a lock all the same.
    let _ = file.write_all_at(text.as_bytes(), 0);
    // Only where it must: setting a length can reach the disk before the text does.
    if status.st_size > i64::try_from(text.len()).ok()? {
        let _ = file.set_len(text.len() as u64);
    }
    Some((file, status))
}

/// Makes the dotlock: a draft with `pid:host` in it, which is linked to the lock's name.
fn dotlock(
    job: &Job,
    directory: &OwnedFd,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<(File, FileStat), LockError> {
    let fail = |errno| LockError::System("make the dotlock (spool.group?)", errno);
    let name = dotlock_name(&job.spool_name);
    let pid = std::process::id();
    let draft = dotlock_draft_name(&job.spool_name, pid);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let open = || openat(directory, draft.as_str(), flags, mode);
    let made = match open() {
        // Another worker had this process id, and died before it told of its draft.
        Err(Errno::EEXIST) => {
            unlinkat(directory, draft.as_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| open())
        }
        made => made,
    };
    let mut file = File::from(made.map_err(fail)?);
    let written = file.write_all(format!("{pid}:{}", job.host).as_bytes());
    let status = fstat(&file).map_err(fail);
    let linked = status.and_then(|status| {
        // On a full disk there is no room for the text. A lock without one does what it must: the monitor removes it by its
        // inode, and deleting mail is what makes room.
        match written
            .as_ref()
            .err()
            .and_then(std::io::Error::raw_os_error)
        {
            None | Some(libc::ENOSPC | libc::EDQUOT) => {}
            Some(errno) => return Err(fail(Errno::from_raw(errno))),
        }
        tell(status.st_dev, status.st_ino);
        // Over NFS the answer may be lost: only the count of links tells.
        let answer = linkat(
            directory,
            draft.as_str(),
            directory,
            name.as_str(),
            AtFlags::empty(),
        );
        let linked = fstat(&file).map_err(fail)?;
        match answer {
            Err(errno) if linked.st_nlink != 2 && errno != Errno::EEXIST => Err(fail(errno)),
            _ => Ok((linked.st_nlink == 2, linked)),
        }
    });
    unlinkat(directory, draft.as_str(), UnlinkatFlags::NoRemoveDir).map_err(fail)?;
    let (made, status) = linked?;
    if made {
        return Ok((file, status));
    }
    tell(NO_DOTLOCK.0, NO_DOTLOCK.1);
    stale::remove(job, directory, &name);
    Err(LockError::Busy("the dotlock"))
}

/// Whether this file is what stands at `name`.
fn is_at(directory: &OwnedFd, name: &str, file: &FileStat) -> bool {
    let at = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    at.is_ok_and(|at| (at.st_dev, at.st_ino) == (file.st_dev, file.st_ino))
}

/// Whether a file is on another host.
fn is_on_nfs(file: impl AsFd) -> bool {
    let nfs = nix::sys::statfs::NFS_SUPER_MAGIC;
    nix::sys::statfs::fstatfs(file).is_ok_and(|system| system.filesystem_type() == nfs)
}

/// An exclusive fcntl lock from the first byte to wherever the end will be.
fn whole_file() -> Result<libc::flock, LockError> {
    // The kernel's structure has narrower fields than its constants.
    let narrow =
        |constant| i16::try_from(constant).map_err(|_| LockError::System("fcntl", Errno::EINVAL));
    Ok(libc::flock {
        l_type: narrow(libc::F_WRLCK)?,
        l_whence: narrow(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    })
}

/// A stamp of a file as one number. It lasts to the year 2262.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

impl LockedSpool {
    fn lock_file(&mut self, job: &Job) -> Result<(), LockError> {
        if job.locks.fcntl {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole_file()?)) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    return Err(LockError::Busy("the fcntl lock"));
                }
                Err(errno) => return Err(LockError::System("fcntl lock", errno)),
            }
        }
        // Over NFS flock(2) is an fcntl lock in disguise and would meet our own, if there is one.
        if job.locks.flock && !(job.locks.fcntl && is_on_nfs(&self.file)) {
            let file = self
                .file
                .try_clone()
                .map_err(|_| LockError::System("dup", Errno::EMFILE))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(flocked) => self.flock = Some(flocked),
                Err((_, Errno::EAGAIN)) => return Err(LockError::Busy("the flock")),
                Err((_, errno)) => return Err(LockError::System("flock", errno)),
            }
        }
        Ok(())
    }

    fn release_flock(&mut self) {
        if let Some(Err((still_held, _))) = self.flock.take().map(Flock::unlock) {
            std::mem::forget(still_held);
        }
    }

    /// The locked file must still be what stands at the path: some programs replace spools.
    fn still_there(&self) -> Result<(), LockError> {
        let open = fstat(&self.file).map_err(|errno| LockError::System("fstat", errno))?;
        if is_at(&self.directory, &self.name, &open) {
            Ok(())
        } else {
            Err(LockError::Replaced)
        }
    }

    /// Gives the dotlock of a half-taken set back; the other locks go with the descriptors. Says whether it is gone: should
    /// that fail, the monitor does it.
    fn unlock(&self) -> bool {
        let name = self.lock_name.as_str();
        self.dotlock.is_some()
            && self.is_ours()
            && unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir).is_ok()
    }

    fn is_ours(&self) -> bool {
        let own = self.dotlock.as_ref();
        own.is_none_or(|(_, own)| is_at(&self.directory, &self.lock_name, own))
    }

    /// When the dotlock is to be touched next.
    pub fn due(&self) -> Instant {
        self.refreshed + REFRESH
    }

    /// Touches the dotlock if it is due, after making sure that it is still this session's.
    pub fn refresh(&mut self) -> Result<(), Lost> {
        if Instant::now() >= self.due() {
            self.prove()?;
        }
        Ok(())
    }

    /// Makes sure, as [`Self::prove`] does, that the dotlock is still this session's, and that the spool is still what stands
    /// at its path. An update that has begun is done to the file that it began with, wherever that is now.
    pub fn prove_place(&mut self) -> Result<(), Lost> {
        self.still_there().map_err(|_| Lost)?;
        self.prove()
    }

    /// Makes sure that the dotlock is still this session's, and touches it.
    pub fn prove(&mut self) -> Result<(), Lost> {
        if !self.is_ours() {
            return Err(Lost);
        }
        if let Some((file, _)) = &self.dotlock {
            futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).map_err(|_| Lost)?;
        }
        self.refreshed = Instant::now();
        Ok(())
    }

    /// What tells whether the spool is as it was.
    pub fn identity(&self) -> std::io::Result<Identity> {
        use std::os::unix::fs::MetadataExt;
        let status = self.file.metadata()?;
        Ok(Identity {
            inode: status.ino(),
            length: status.len(),
            mtime: nanoseconds(status.mtime(), status.mtime_nsec()),
            ctime: nanoseconds(status.ctime(), status.ctime_nsec()),
        })
    }

    /// Whether a change that came now would get a later `ctime` than this one. While the clock of the file system has not
    /// moved on, a stamp does not prove that there was none. The dotlock shows that clock; without one, a clock of this host
    /// that is some seconds ahead.
    pub fn is_settled(&mut self, ctime: i64) -> bool {
        if self.prove_place().is_err() {
            return false;
        }
        let now = match &self.dotlock {
            Some((file, _)) => fstat(file).map(|s| nanoseconds(s.st_ctime, s.st_ctime_nsec)),
            None => clock_gettime(ClockId::CLOCK_REALTIME)
                .map(|now| nanoseconds(now.tv_sec() - 3, now.tv_nsec())),
        };
        now.is_ok_and(|now| now > ctime)
    }

    /// Reads into all of `into` from `offset`; fewer bytes only at the spool's end.
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> std::io::Result<usize> {
        self.refresh().map_err(std::io::Error::other)?;
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.refresh().map_err(std::io::Error::other)?;
        self.file.write_all_at(bytes, offset)
    }

    /// Cuts the spool, and has all of it on disk.
    pub(crate) fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()
    }

    /// Has all of the spool on disk.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests;
