//! The locks of one spool: all of them or none, for the whole session (promise P2). Only locking
//! makes a [`LockedSpool`]. The spool is read and written only through it.

mod file;
mod holder;
mod stale;

pub use holder::Holder;

use crate::error::{OpenError, UpdateError};
use file::{WHOLE_FILE, is_at, is_on_nfs};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use popward_mbox::index::Identity;
use popward_mbox::source::Source;
use popward_proto::sessions_worker::{Job, Task, dotlock_draft_name, dotlock_name};
use popward_sys::libc;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long the dotlock may stand before it is touched again. maildrop removes a dotlock that
/// nobody has touched for 60 s.
pub const REFRESH: Duration = Duration::from_secs(20);

/// A spool with all its locks. The locks on the file end when it is dropped. Sessions has the
/// dotlock removed, because this process has given up the right to do so.
#[derive(Debug)]
pub struct LockedSpool {
    file: File,
    dotlock: Option<(File, FileStat)>,
    directory: OwnedFd,
    name: String,
    lock_name: String,
    refreshed: Instant,
}

/// Tells sessions that this worker has no dotlock any more. No file has these numbers.
///
/// The worker must tell this while the draft that it told before is still open. Once the draft is
/// closed, another program's dotlock may get the draft's inode, and sessions would remove that
/// dotlock.
const NO_DOTLOCK: (u64, u64) = (0, 0);

/// Tries once to open and lock the spool of `job` in `directory`. `Ok(None)`: there is no spool.
///
/// `tell` gets the device and inode of a draft before it becomes the dotlock, and [`NO_DOTLOCK`] if
/// it did not become the dotlock or was removed again.
pub fn try_lock(
    job: &Job,
    directory: &OwnedFd,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Option<LockedSpool>, OpenError> {
    let name = job.spool_name.as_str();
    let flags =
        OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOATIME;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => {
            // The spool may be missing only for a moment: mailutils removes it under the dotlock
            // and writes a new one. If the client saw no messages now, it would take all of them
            // for new the next time. A stale dotlock is removed even so, because delivery agents
            // wait for it.
            let lock = dotlock_name(&job.spool_name);
            if job.locks.dotlock {
                stale::remove(job, directory, &lock);
            }
            let found = fstatat(directory, lock.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            let finishes = matches!(job.task, Task::Finish { .. });
            if job.locks.dotlock && !finishes && found != Err(Errno::ENOENT) {
                return Err(OpenError::Busy(
                    "the dotlock of a spool that is not there",
                    Holder::Unknown,
                ));
            }
            // The other program may have put the spool back and removed its lock just now.
            if fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
                return Err(OpenError::Replaced);
            }
            return Ok(None);
        }
        Err(Errno::ELOOP) => return Err(OpenError::Unfit("the spool is a symbolic link")),
        Err(Errno::EPERM) => return Err(OpenError::Unfit("the spool belongs to somebody else")),
        Err(Errno::EISDIR) => {
            return Err(OpenError::Unfit(
                "the spool is a directory (a Maildir?), not an mbox file",
            ));
        }
        // `open(2)` of a socket fails with this error.
        Err(Errno::ENXIO) => return Err(OpenError::Unfit("the spool is not a regular file")),
        Err(errno) => return Err(OpenError::System("open the spool", errno)),
    };
    fit(&file, job)?;
    let clone = directory.try_clone();
    let mut locked = LockedSpool {
        file,
        dotlock: None,
        directory: clone.map_err(|_| OpenError::System("dup", Errno::EMFILE))?,
        name: name.to_owned(),
        lock_name: dotlock_name(&job.spool_name),
        refreshed: Instant::now(),
    };
    let mut succeeds = false;
    if job.locks.dotlock {
        if let Task::Finish { dotlock } = job.task {
            locked.dotlock = dotlock.and_then(|left| taken_over(job, directory, left));
        }
        succeeds = locked.dotlock.is_some();
        if !succeeds {
            locked.dotlock = Some(dotlock(job, directory, tell)?);
        }
    }
    let taken = locked
        .lock_file(job)
        .and_then(|()| fit(&locked.file, job))
        .and_then(|_| locked.is_there().then_some(()).ok_or(OpenError::Replaced));
    if let Err(error) = taken {
        // A dotlock that was taken over stays where it is, so that no other program gets in. The
        // next try takes it over again.
        if !succeeds && locked.unlock() {
            tell(NO_DOTLOCK.0, NO_DOTLOCK.1);
        }
        return Err(error);
    }
    Ok(Some(locked))
}

/// Removes the dotlock of worker `pid`, and the lock's draft, if they are still the file that this
/// worker told of.
pub fn free(job: &Job, directory: &OwnedFd, pid: u32, told: (u64, u64)) -> Result<(), OpenError> {
    let names = [
        dotlock_draft_name(&job.spool_name, pid),
        dotlock_name(&job.spool_name),
    ];
    let names = names.each_ref().map(String::as_str);
    popward_sys::dotlock::remove(directory, names, told)
        .map_err(|errno| OpenError::System("remove the dotlock", errno))
}

/// How long to wait before another try: 100 to 500 ms at random. Two workers that started together
/// have other process ids and clocks, so they do not meet again.
pub fn pause() -> Duration {
    let now = std::time::UNIX_EPOCH.elapsed();
    let nanos = now.map_or(0, |time| u64::from(time.subsec_nanos()));
    Duration::from_millis(100 + u64::from(std::process::id()).wrapping_add(nanos) % 400)
}

fn fit(file: &File, job: &Job) -> Result<FileStat, OpenError> {
    let status = fstat(file).map_err(|errno| OpenError::System("fstat", errno))?;
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(OpenError::Unfit("the spool is not a regular file"));
    }
    if status.st_uid != job.uid {
        return Err(OpenError::Unfit("the spool belongs to somebody else"));
    }
    match status.st_nlink {
        1 => Ok(status),
        // The file was replaced after it was opened: mailutils writes a new file and renames it.
        // The next try opens the new file.
        0 => Err(OpenError::Replaced),
        _ => Err(OpenError::Unfit("the spool has more than one link")),
    }
}

/// Takes over the dotlock `left` of the worker whose update this one finishes, by writing its own
/// process id into it. `None`: the dotlock is gone.
fn taken_over(job: &Job, directory: &OwnedFd, left: (u64, u64)) -> Option<(File, FileStat)> {
    let name = dotlock_name(&job.spool_name);
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name.as_str(), flags, Mode::empty()).ok()?);
    let status = fstat(&file).ok()?;
    if (status.st_dev, status.st_ino) != left {
        return None;
    }
    let text = format!("{}:{}", std::process::id(), job.host);
    // The lock holds even if the disk has no room for the text, or the text is another's.
    let _ = file.write_all_at(text.as_bytes(), 0);
    // The length is set only if the old text was longer, because the shorter length can reach the
    // disk before the text does.
    if status.st_size > i64::try_from(text.len()).ok()? {
        let _ = file.set_len(text.len() as u64);
    }
    Some((file, status))
}

/// Makes the dotlock: writes a draft with `pid:host` in it, then links the draft to the lock's
/// name.
fn dotlock(
    job: &Job,
    directory: &OwnedFd,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<(File, FileStat), OpenError> {
    let fail = |errno| OpenError::System("make the dotlock (spool.group?)", errno);
    let name = dotlock_name(&job.spool_name);
    let pid = std::process::id();
    let draft = dotlock_draft_name(&job.spool_name, pid);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    let open = || openat(directory, draft.as_str(), flags, mode);
    let made = match open() {
        // An earlier worker had the same process id and died before it told sessions of its
        // draft.
        Err(Errno::EEXIST) => {
            unlinkat(directory, draft.as_str(), UnlinkatFlags::NoRemoveDir).and_then(|()| open())
        }
        made => made,
    };
    let mut file = File::from(made.map_err(fail)?);
    let written = file.write_all(format!("{pid}:{}", job.host).as_bytes());
    let refused = written.err().and_then(|error| error.raw_os_error());
    let status = fstat(&file).map_err(fail);
    let linked = status.and_then(|status| {
        // A full disk has no room for the text. The lock works without a text, because sessions
        // removes it by its inode. Locking must work then, because deleting mail makes room.
        match refused {
            None | Some(libc::ENOSPC | libc::EDQUOT) => {}
            Some(errno) => return Err(fail(Errno::from_raw(errno))),
        }
        tell(status.st_dev, status.st_ino);
        let link = || {
            let (from, to) = (draft.as_str(), name.as_str());
            let answer = linkat(directory, from, directory, to, AtFlags::empty());
            // Over NFS the answer to link(2) may be lost. Only the count of links shows whether the
            // link was made.
            let linked = fstat(&file).map_err(fail)?;
            match answer {
                Err(errno) if linked.st_nlink != 2 && errno != Errno::EEXIST => Err(fail(errno)),
                _ => Ok((linked.st_nlink == 2, linked)),
            }
        };
        match link()? {
            // Sessions may be about to remove the stale lock, and knows it by its inode. This
            // worker's lock has another one, because its draft was there before the stale lock went.
            (false, _) if stale::remove(job, directory, &name) => link(),
            linked => Ok(linked),
        }
    });
    unlinkat(directory, draft.as_str(), UnlinkatFlags::NoRemoveDir).map_err(fail)?;
    let (made, status) = linked?;
    if made {
        return Ok((file, status));
    }
    tell(NO_DOTLOCK.0, NO_DOTLOCK.1);
    Err(OpenError::Busy("the dotlock", Holder::Unknown))
}

/// A file's time as one number of nanoseconds. It fits until the year 2262.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

impl LockedSpool {
    fn lock_file(&mut self, job: &Job) -> Result<(), OpenError> {
        let failed = |lock| {
            move |errno| match errno {
                Errno::EAGAIN | Errno::EACCES => OpenError::Busy(lock, Holder::Unknown),
                errno => OpenError::System(lock, errno),
            }
        };
        if job.locks.fcntl {
            let taken = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&WHOLE_FILE));
            taken.map_err(failed("the fcntl lock"))?;
        }
        // Over NFS, flock(2) takes an fcntl lock. It would collide with this worker's own fcntl
        // lock.
        if job.locks.flock && !(job.locks.fcntl && is_on_nfs(&self.file)) {
            popward_sys::flock::lock(&self.file).map_err(failed("the flock"))?;
        }
        Ok(())
    }

    /// Whether the spool's path still names the locked file, and the dotlock is this session's. Some
    /// programs replace spools or break locks.
    fn is_there(&self) -> bool {
        let spool = fstat(&self.file);
        spool.is_ok_and(|open| is_at(&self.directory, &self.name, &open)) && self.is_ours()
    }

    /// Removes the dotlock after another lock could not be taken. The other locks end with their
    /// descriptors. Returns whether the dotlock is gone. If not, sessions removes it.
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

    /// When the dotlock must be touched next.
    pub fn due(&self) -> Instant {
        self.refreshed + REFRESH
    }

    /// If the dotlock is due, checks that it is still this session's, and touches it.
    pub fn refresh(&mut self) -> Result<(), UpdateError> {
        if Instant::now() >= self.due() {
            self.prove()?;
        }
        Ok(())
    }

    /// Checks that the spool's path still names this spool too, and does the same as
    /// [`Self::prove`].
    ///
    /// An update that has begun calls only [`Self::prove`]: it is finished on the file on which it
    /// began, wherever that file is now.
    pub fn prove_place(&mut self) -> Result<(), UpdateError> {
        if !self.is_there() {
            return Err(UpdateError::LockLost);
        }
        self.prove()
    }

    /// Checks that the dotlock is still this session's, and touches it.
    pub fn prove(&mut self) -> Result<(), UpdateError> {
        if !self.is_ours() {
            return Err(UpdateError::LockLost);
        }
        if let Some((file, _)) = &self.dotlock {
            futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)
                .map_err(|_| UpdateError::LockLost)?;
        }
        self.refreshed = Instant::now();
        Ok(())
    }

    /// The numbers that show whether the spool has changed.
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

    /// Whether a change to the spool from now on would get a later `ctime` than this one. Until the
    /// file system's clock has moved on, an equal `ctime` does not prove that nothing changed.
    ///
    /// The dotlock's own time shows that clock. Without a dotlock, this compares with the host's
    /// clock less 3 s, because the file server's clock may differ.
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

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), UpdateError> {
        self.refresh()?;
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    /// Cuts the spool to `length` bytes. All of it is on disk when this returns.
    pub(crate) fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()
    }

    /// Waits until all of the spool is on disk.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()
    }
}

impl Source for LockedSpool {
    type Error = UpdateError;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, UpdateError> {
        self.refresh()?;
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
