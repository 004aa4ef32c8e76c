//! Removes the dotlock of a dead worker. The monitor takes on the user's id and the group of the
//! spool directory for these calls, so it never uses root's rights on files. It removes the lock
//! only if the lock is still the file that the worker made.

use crate::as_user::AsUser;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
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

impl Dotlock {
    /// Removes the lock and its draft, if they are still the worker's file. Returns whether it
    /// removed the lock.
    ///
    /// # Errors
    ///
    /// `EPERM` if the process cannot take on the ids, or the error of the call that failed.
    pub(crate) fn remove(&self) -> Result<bool, Errno> {
        let _user = AsUser::enter(self.uid, self.gid)?;
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
