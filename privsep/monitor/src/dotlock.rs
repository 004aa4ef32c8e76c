//! Removes a dead worker's dotlock: with its user's ids and the spool directory's group for these calls, never with
//! root's rights on files, and only if it is still the file that the worker made.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, setfsgid, setfsuid, unlinkat};
use popward_proto::bounded::UserName;
use popward_proto::monitor_worker::{dotlock_draft_name, dotlock_name};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Whose lock, and where.
#[derive(Debug, Clone)]
pub(crate) struct Dotlock {
    /// The directory.
    pub(crate) directory: PathBuf,
    /// The spool's name in it.
    pub(crate) spool: UserName,
    /// The worker's process id, which is in its draft's name.
    pub(crate) pid: u32,
    /// Device and inode of the file that the worker made.
    pub(crate) file: (u64, u64),
    /// With whose rights it is removed.
    pub(crate) uid: u32,
    /// With which group's.
    pub(crate) gid: u32,
}

/// File access as somebody else, until it is dropped.
struct AsUser(Uid, Gid);

impl AsUser {
    fn enter(uid: u32, gid: u32) -> Self {
        let before_gid = setfsgid(Gid::from_raw(gid));
        Self(setfsuid(Uid::from_raw(uid)), before_gid)
    }

    /// The calls answer with the id before and have no error: asking again tells whether they worked.
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
    /// Removes the lock, and the draft that was to become it. Returns whether there was a lock to remove.
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
