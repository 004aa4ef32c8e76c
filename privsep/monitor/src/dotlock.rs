//! Removes the dotlock of a dead worker. The monitor takes on the user's id and the group of the
//! spool directory for these calls, so it never uses root's rights on files. It removes the lock
//! only if the lock is still the file that the worker made.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, setfsgid, setfsuid, unlinkat};
use popward_proto::bounded::UserName;
use popward_proto::monitor_worker::{dotlock_draft_name, dotlock_name};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The dotlock of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Dotlock {
    /// The directory of the spool and of its lock.
    pub(crate) directory: PathBuf,
    /// The spool's name in this directory.
    pub(crate) spool: UserName,
    /// The worker's process id. The name of the lock's draft contains it.
    pub(crate) pid: u32,
    /// Device and inode of the file that the worker made.
    pub(crate) file: (u64, u64),
    /// The user id whose rights remove the lock.
    pub(crate) uid: u32,
    /// The group id whose rights remove the lock.
    pub(crate) gid: u32,
}

/// While a value of this type lives, the process accesses files with the rights of another user.
/// Its fields are the ids from before.
struct AsUser(Uid, Gid);

impl AsUser {
    fn enter(uid: u32, gid: u32) -> Self {
        let before_gid = setfsgid(Gid::from_raw(gid));
        Self(setfsuid(Uid::from_raw(uid)), before_gid)
    }

    /// Whether the process accesses files with these ids. `setfsuid` and `setfsgid` report no
    /// error, they return the id from before. So a second call shows whether the first one worked.
    fn is(uid: u32, gid: u32) -> bool {
        setfsgid(Gid::from_raw(gid)).as_raw() == gid && setfsuid(Uid::from_raw(uid)).as_raw() == uid
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        setfsuid(self.0);
        setfsgid(self.1);
    }
}

impl Dotlock {
    /// Removes the lock and its draft, if they are still the worker's file. Returns whether it
    /// removed the lock.
    ///
    /// # Errors
    ///
    /// `EPERM` if the process cannot take on the ids, or the error of the call that failed.
    pub(crate) fn remove(&self) -> Result<bool, Errno> {
        let _user = AsUser::enter(self.uid, self.gid);
        if !AsUser::is(self.uid, self.gid) {
            return Err(Errno::EPERM);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(&self.directory, flags, Mode::empty())?;
        self.remove_if_own(&directory, &dotlock_draft_name(&self.spool, self.pid))?;
        self.remove_if_own(&directory, &dotlock_name(&self.spool))
    }

    fn remove_if_own(&self, directory: &OwnedFd, name: &str) -> Result<bool, Errno> {
        let status = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(false),
            status => status?,
        };
        if (status.st_dev, status.st_ino) != self.file {
            return Ok(false);
        }
        unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
